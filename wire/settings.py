"""Settings, each declared once as a pydantic field: flag, variable, file key and help follow from it.

    --max-batch 16   >   NANOFLEET_MAX_BATCH=16   >   max_batch = 16 in --config FILE   >   the default

An error names the place that the value came from.

Secrets have no field: a password is read from `--password-file` or from NANOFLEET_PASSWORD, because
flags can be read in the process list.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Type, TypeVar

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import Annotated, Literal

from wire.config_file import Given, Layout, read_config
from wire.errors import SettingsError, reason_of
from wire.flags import flag_of, is_path, is_positional, parser_of

ENV_PREFIX = "NANOFLEET_"
PASSWORD_VARIABLE = ENV_PREFIX + "PASSWORD"
#: A positional argument of the command line, for `Field(json_schema_extra=POSITIONAL)`.
POSITIONAL: Dict[str, Any] = {"positional": True}
LogLevel = Literal["debug", "info", "warning", "error"]

S = TypeVar("S", bound="Settings")


def _split(value: object) -> object:
    """Let `a,b`, repeated flags, a TOML list and a single number all mean a list of texts."""
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, (str, int, float)) for part in parts):
        return value
    return [text for part in parts for text in str(part).split(",") if text]


#: Several names: `--camera door,garden`, `--camera door --camera garden`, NANOFLEET_CAMERA=door,garden.
Names = Annotated[List[str], NoDecode, BeforeValidator(_split)]


def default_state_dir() -> Path:
    """Where a member keeps its state between runs."""
    # systemd names a unit's StateDirectory in STATE_DIRECTORY.
    if "STATE_DIRECTORY" in os.environ:
        return Path(os.environ["STATE_DIRECTORY"])
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "nanofleet"


def child_environment() -> Dict[str, str]:
    """The environment for a child process: without nanofleet's variables, and so without a password."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}


class Settings(BaseSettings):
    """Base of the settings of every command: where they come from, and how they are logged."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )

    #: By setting: the variable that it came from, or its key in a file.
    _origins: Dict[str, str] = PrivateAttr(default_factory=dict)

    config: Optional[Path] = Field(
        None, description="TOML file with these settings, at the top or in a section for the command"
    )
    log_level: LogLevel = Field(
        "warning", description="Least urgent lines of the log; debug shows those of libraries as well"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Lines of text, or JSON objects, one a line"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _path_is_named(cls, value: object, info: ValidationInfo) -> object:
        # A script's variable that is not set: Path("") would be the folder that it happens to run in.
        if value == "" and is_path(cls.model_fields[info.field_name or ""]):
            raise ValueError("an empty text names no file or folder; without it the default holds")
        return value

    @property
    def level(self) -> str:
        """The least urgent level that is logged."""
        return self.log_level

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: Type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> Tuple[PydanticBaseSettingsSource, ...]:
        """Flags and file first, then variables."""
        return (init_settings, env_settings)

    @classmethod
    def variables(cls) -> Set[str]:
        """The environment variables that are read; positional arguments have none."""
        return {variable_of(name) for name in cls.file_keys()}

    @classmethod
    def file_keys(cls) -> Set[str]:
        """The settings that a file may hold."""
        return {name for name, field in cls.model_fields.items() if not is_positional(field)}

    @classmethod
    def parser(cls, prog: str) -> argparse.ArgumentParser:
        """The parser of a command's flags."""
        return parser_of(cls, prog, Settings.model_fields)

    @classmethod
    def from_command_line(cls: Type[S], prog: str, argv: Sequence[str], layout: Optional[Layout] = None) -> S:
        """Read the settings of one command.

        Args:
            prog: how it is called, as `nanofleet worker`.
            argv: its flags.
            layout: what a file may hold; None for this command's settings alone.

        Raises:
            SettingsError: a value is wrong; the text names the flag, the variable, or the file and its key.
            SystemExit: `--help`, or a flag that does not exist.
        """
        command = prog[len("nanofleet ") :] if prog.startswith("nanofleet ") else prog
        flags = vars(cls.parser(prog).parse_args(argv))
        variables = {name for name in cls.file_keys() if os.environ.get(variable_of(name))} - set(flags)
        path = flags.get("config") or os.environ.get(variable_of("config"))
        named_by = "--config" if flags.get("config") else variable_of("config")
        layout = layout or Layout({command: cls.file_keys()})
        held = read_config(Path(path), command, layout, named_by) if path else {}
        file: Dict[str, Given] = {
            name: given for name, given in held.items() if name not in flags and name not in variables
        }
        origins = {name: variable_of(name) for name in variables}
        origins.update({name: given.origin for name, given in file.items()})
        try:
            settings = cls(**flags, **{name: given.value for name, given in file.items()})
        except ValidationError as error:
            places = {**{name: flag_of(name) for name in flags}, **origins}
            raise SettingsError(_explain(cls, error, places)) from None
        settings._origins.update(origins)
        return settings

    def blame(self, message: str) -> str:
        """An error's message that begins with a flag, with the place that the value came from instead."""
        return _blame(message, self._origins)


def _blame(message: str, origins: Mapping[str, str]) -> str:
    flag = re.match(r"--(?:no-)?([a-z0-9-]+)(?::| |$)", message)
    origin = flag and origins.get(flag.group(1).replace("-", "_"))
    if not flag or not origin or origin.startswith("--"):
        return message
    return f"{origin}: {message[flag.end() :].lstrip()}"


def _explain(cls: Type[Settings], error: ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        where = f"{_shown_name(cls, name, origins)}: " if name else ""
        message = reason_of(fault)
        given = "" if fault["type"] in ("missing", "value_error") else f", not {fault['input']!r}"
        lines.append(_blame(f"{where}{message[:1].lower()}{message[1:]}{given}", {} if name else origins))
    return "\n".join(lines)


def _shown_name(cls: Type[Settings], name: str, origins: Mapping[str, str]) -> str:
    if name in cls.model_fields and is_positional(cls.model_fields[name]):
        return name.upper().rstrip("S")
    return origins.get(name) or f"{flag_of(name)} ({variable_of(name)})"


def variable_of(name: str) -> str:
    """A setting's environment variable."""
    return ENV_PREFIX + name.upper()
