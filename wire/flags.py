"""The flags of a command, made of its settings: one for each pydantic field."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any, Collection, List, Optional, Type, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typing_extensions import Literal


def parser_of(cls: Type[BaseModel], prog: str, last: Collection[str]) -> argparse.ArgumentParser:
    """The parser of a command's flags.

    Args:
        cls: its settings.
        prog: how it is called.
        last: settings that come last in its help: all commands have them, and a command's own matter more.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description=inspect.cleandoc(cls.__doc__ or ""),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,  # what is not given must not hide a variable or the file
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Each flag is also a variable (--max-batch: NANOFLEET_MAX_BATCH) and a key of --config FILE.",
    )
    fields = cls.model_fields.items()
    for name, field in sorted(fields, key=lambda item: item[0] in last):
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


def is_path(field: FieldInfo) -> bool:
    """Whether a setting names a file or a folder."""
    return _plain_type(field) is Path


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
