"""What is common to all JSON messages: each encodes and decodes itself, within bounds.

A topic may hold anything: each kind has a limit for itself and for its parts, and `decode` reads nothing that
is longer. So the cost of reading is bounded, whatever the bytes are.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import ClassVar, Literal, Type, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Annotated

from wire.errors import DecodeError, reason_of
from wire.lengths import MAX_WORD
from wire.printable import cut

M = TypeVar("M", bound="Message")
#: Faults that an error names, at most, and how many there may be for that.
_MAX_NAMED, _MAX_FAULTS = 5, 100


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(timezone.utc)


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError("not within the years 1 to 9999 of UTC") from None


#: A time with an offset, kept and written as UTC.
UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]


class Message(BaseModel):
    """What is common to all messages: frozen, versioned, tolerant of unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, populate_by_name=True, protected_namespaces=()
    )

    #: Bytes, at most, and parts: lists, objects and commas, each of which costs memory.
    MAX_BYTES: ClassVar[int] = 1 << 16
    MAX_PARTS: ClassVar[int] = 4000

    schema_: Literal[1] = Field(1, alias="schema")

    def encode(self) -> bytes:
        """The JSON payload, UTF-8. Times are RFC 3339 with a `Z`."""
        return self.model_dump_json(by_alias=True).encode()

    @classmethod
    def decode(cls: Type[M], payload: bytes) -> M:
        """Read a payload.

        Raises:
            DecodeError: it is too large, not JSON, or not this message; the text names the fields at fault.
        """
        if len(payload) > cls.MAX_PARTS:  # most have fewer bytes
            _check_length(cls, payload)
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            raise DecodeError(f"not a {cls.__name__}: {explain(error)}") from None


def _check_length(kind: Type[Message], payload: bytes) -> None:
    parts = len(payload) - len(payload.translate(None, b"[{,"))
    for count, most, what in ((len(payload), kind.MAX_BYTES, "bytes"), (parts, kind.MAX_PARTS, "parts")):
        if count > most:
            raise DecodeError(f"not a {kind.__name__}: {count} {what}, at most {most} are read")


def explain(error: ValidationError) -> str:
    """The first faults of a validation error on one line, without the input: that may be huge, or secret."""
    if error.error_count() > _MAX_FAULTS:
        return f"{error.error_count()} faults"
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    shown = []
    for fault in faults[:_MAX_NAMED]:  # a field's name may be a stranger's, and some messages quote a value
        where = cut(".".join(map(str, fault["loc"])), MAX_WORD)
        what = reason_of(fault)
        shown.append(f"{where}: {cut(what, 2 * MAX_WORD)}" if where else what)
    return "; ".join(shown) + (f"; and {len(faults) - _MAX_NAMED} more" if faults[_MAX_NAMED:] else "")
