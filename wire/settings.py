"""Settings, each declared once as a pydantic field: flag, variable, file key and help follow from it.

    --max-batch 16   >   NANOFLEET_MAX_BATCH=16   >   max_batch = 16 in --config FILE   >   the default

Secrets have no field: a password is read from `--password-file` or from NANOFLEET_PASSWORD, because
flags can be read in the process list.
"""

from __future__ import annotations

import argparse
import inspect
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple, Type, TypeVar, Union, get_args, get_origin

from pydantic import BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from typing_extensions import Annotated, Literal

from wire.errors import SettingsError

ENV_PREFIX = "NANOFLEET_"
PASSWORD_VARIABLE = ENV_PREFIX + "PASSWORD"
LogLevel = Literal["debug", "info", "warning", "error"]
#: A positional argument of the command line, for `Field(json_schema_extra=POSITIONAL)`.
POSITIONAL: Dict[str, Any] = {"positional": True}

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
    """Where a member keeps what must outlive it."""
    # systemd names a unit's StateDirectory in STATE_DIRECTORY.
    if "STATE_DIRECTORY" in os.environ:
        return Path(os.environ["STATE_DIRECTORY"])
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "nanofleet"


def child_environment() -> Dict[str, str]:
    """The environment for a child that is set otherwise: without our variables, and so without a password."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}


class Settings(BaseSettings):
    """What the settings of every command share: where they come from."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )

    config: Optional[Path] = Field(None, description="TOML file with these settings, as `max_batch = 16`")
    log_level: LogLevel = Field(
        "warning", description="Least urgent lines of the log; debug shows those of libraries as well"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Lines of text, or JSON objects, one a line"
    )

    @property
    def level(self) -> str:
        """Least urgent lines that are logged."""
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
        """Flags, then variables, then the file that one of these two names."""
        path = init_settings().get("config") or env_settings().get("config")
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path))

    @classmethod
    def variables(cls) -> Set[str]:
        """The environment variables that are read; what a command works on is named on its line only."""
        return {
            ENV_PREFIX + name.upper() for name, field in cls.model_fields.items() if not is_positional(field)
        }

    @classmethod
    def parser(cls, prog: str) -> argparse.ArgumentParser:
        """The parser of a command's flags."""
        return _parser(cls, prog)

    @classmethod
    def from_command_line(cls: Type[S], prog: str, argv: Sequence[str]) -> S:
        """Read the settings of one command.

        Raises:
            SettingsError: a value is wrong; the text names the flag and the variable.
            SystemExit: `--help`, or a flag that does not exist.
        """
        flags = vars(cls.parser(prog).parse_args(argv))
        path = flags.get("config") or os.environ.get(ENV_PREFIX + "CONFIG")
        if path and not Path(path).is_file():
            raise SettingsError(f"--config {path}: there is no such file")
        try:
            return cls(**flags)
        except ValidationError as error:
            raise SettingsError(_explain(cls, error, path)) from None
        except ValueError as error:  # TOMLDecodeError, on every Python
            raise SettingsError(f"--config {path}: {error}") from None


def _explain(cls: Type[Settings], error: ValidationError, config: Optional[str]) -> str:
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "extra_forbidden":
            lines.append(f"{name}: there is no such setting (in {config})")
            continue
        where = f"{_shown_name(cls, name)}: " if name else ""
        message = fault["msg"][len("Value error, ") :] if fault["type"] == "value_error" else fault["msg"]
        given = "" if fault["type"] in ("missing", "value_error") else f", not {fault['input']!r}"
        lines.append(f"{where}{message[:1].lower()}{message[1:]}{given}")
    return "\n".join(lines)


def _shown_name(cls: Type[Settings], name: str) -> str:
    if name in cls.model_fields and is_positional(cls.model_fields[name]):
        return name.upper().rstrip("S")
    return f"{flag_of(name)} ({ENV_PREFIX}{name.upper()})"


def _parser(cls: Type[Settings], prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=inspect.cleandoc(cls.__doc__ or ""),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,  # what is not given must not hide a variable or the file
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Each flag is also a variable (--max-batch: NANOFLEET_MAX_BATCH) and a key of --config FILE.",
    )
    fields = cls.model_fields.items()
    # What all commands have comes last: a command's own settings matter more.
    for name, field in sorted(fields, key=lambda item: item[0] in Settings.model_fields):
        flag = flag_of(name)
        text = (field.description or "").replace("%", "%%")
        if is_positional(field):
            nargs = None if not _is_list(field) else "+" if field.is_required() else "*"
            parser.add_argument(name, nargs=nargs, metavar=name.upper().rstrip("S"), help=text)
        elif field.annotation is bool:
            default = f" (default: {'yes' if field.get_default(call_default_factory=True) else 'no'})"
            parser.add_argument(
                flag, "--no-" + flag[2:], dest=name, nargs=0, action=_Switch, help=text + default
            )
        else:
            action = "append" if _is_list(field) else "store"
            parser.add_argument(
                flag, dest=name, action=action, metavar=metavar_of(field), help=text + _shown_default(field)
            )
    return parser


def is_positional(field: FieldInfo) -> bool:
    """Whether a setting is an argument without a flag, which only the command line can give."""
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get("positional"))


def flag_of(name: str) -> str:
    """A setting's flag."""
    # A field whose name pydantic has taken itself, such as `json`, ends with an underscore.
    return "--" + name.rstrip("_").replace("_", "-")


class _Switch(argparse.Action):
    """`--wait` and `--no-wait` (argparse has its own from Python 3.9 on)."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: Optional[str] = None,
    ) -> None:
        setattr(namespace, self.dest, not (option_string or "").startswith("--no-"))


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is list


def metavar_of(field: FieldInfo) -> str:
    """What a setting takes, in a word."""
    choices = choices_of(field)
    return "|".join(choices) or {int: "N", float: "X", Path: "PATH"}.get(_plain_type(field), "TEXT")


def choices_of(field: FieldInfo) -> List[str]:
    """The words that a setting can be; none where it can be anything."""
    annotation = _plain_type(field)
    return list(map(str, get_args(annotation))) if get_origin(annotation) is Literal else []


def _plain_type(field: FieldInfo) -> Any:
    annotation: Any = field.annotation
    return get_args(annotation)[0] if get_origin(annotation) is Union else annotation  # Optional[...]


def _shown_default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is None or default == []:
        return ""
    return f" (default: {', '.join(default) if isinstance(default, list) else default})"
