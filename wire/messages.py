"""The JSON messages of a fleet, each a frozen model that encodes and decodes itself.

    Result          nanofleet/results/<camera>     worker -> listeners
    Rejection       nanofleet/rejects/<camera>     worker -> listeners
    WorkerStatus    nanofleet/workers/<worker>     worker -> fleet, retained; also the will
    AdoptionClaim   nanofleet/workers/<dead>/adoption/<worker>    worker -> fleet, retained
    Beacon          nanofleet/beacons/<worker>     worker -> fleet, retained
    ModelCommand    nanofleet/control/model        operator -> workers, retained
                    nanofleet/control/<worker>/model
    WorkerAction    nanofleet/control/<worker>/action    operator -> worker

Readers tolerate unknown fields. `schema` is 1; a reader refuses another number.

Others may write there, too, and anything: each kind says how long it and its parts may be, and `decode` reads
nothing that is longer. So what it costs is bounded, whatever the bytes are.
"""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import ClassVar, Dict, Literal, Optional, Tuple, Type, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Annotated

from wire.errors import DecodeError
from wire.lengths import MAX_INPUTS, MAX_LABELS, MAX_SENTENCES, MAX_WORD, Name, Sentence, Topic, Word
from wire.model_choice import ModelChoice
from wire.printable import cut

M = TypeVar("M", bound="Message")
#: A frame id: visible ASCII, so that it can stand in logs, JSON and user properties alike.
FRAME_ID = r"^[\x21-\x7e]{1,128}$"
#: The user properties of a frame that is published as plain image bytes.
FRAME_ID_PROPERTY = "frame-id"
CAPTURED_AT_PROPERTY = "captured-at"
SENT_AT_PROPERTY = "sent-at"


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


class Reason(str, Enum):
    """Why a frame was rejected: a closed list, so that it can be a metric's label."""

    EMPTY = "empty"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    INVALID_ENVELOPE = "invalid_envelope"
    EXPIRED = "expired"
    NOT_AN_IMAGE = "not_an_image"
    CORRUPT_IMAGE = "corrupt_image"
    IMAGE_TOO_LARGE = "image_too_large"
    DECODER_CRASHED = "decoder_crashed"
    DECODER_TIMEOUT = "decoder_timeout"
    NOT_A_NUMBER = "not_a_number"
    POISON = "poison"


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
    """The first faults in a validation error on one line, without the input, perhaps huge, perhaps secret."""
    if error.error_count() > _MAX_FAULTS:
        return f"{error.error_count()} faults"
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    shown = []
    for fault in faults[:_MAX_NAMED]:  # a field's name may be a stranger's, and some messages quote a value
        where = cut(".".join(map(str, fault["loc"])), MAX_WORD)
        shown.append(f"{where}: {cut(fault['msg'], 2 * MAX_WORD)}" if where else fault["msg"])
    return "; ".join(shown) + (f"; and {len(faults) - _MAX_NAMED} more" if faults[_MAX_NAMED:] else "")


class Answer(Message):
    """What is common to the two answers to a frame."""

    MAX_BYTES: ClassVar[int] = 1 << 20
    MAX_PARTS: ClassVar[int] = 20_000

    frame_id: Word
    camera: Word
    worker: Word


class Candidate(BaseModel):
    """One of a Result's top k."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    label: Name
    index: int = Field(ge=0)
    confidence: float = Field(ge=0, le=1)


class GroupScore(BaseModel):
    """A group of labels in an answer: its confidence is the sum of its labels', of all that the model has."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    group: Word
    confidence: float = Field(ge=0, le=1)


class Result(Answer):
    """The answer to one frame. `label`, `index` and `confidence` repeat the first of `top`."""

    model: Name
    weights: Name
    label: Name
    index: int = Field(ge=0)
    confidence: float = Field(ge=0, le=1)
    top: Tuple[Candidate, ...] = Field(max_length=MAX_LABELS)
    width: int = Field(description="Pixels of the upright image as it was sent")
    height: int
    captured_at: Optional[UtcTime] = None
    received_at: UtcTime
    answered_at: UtcTime
    timings_ms: Dict[Word, float] = Field(
        max_length=MAX_SENTENCES, description="Milliseconds: queue, decode, inference, total"
    )
    batch_size: int = Field(ge=1)
    complete: bool = Field(True, description="False where a part of the image was missing")
    labels: Optional[Tuple[Name, ...]] = Field(
        None,
        max_length=MAX_LABELS,
        description="Of a model whose classes do not exclude each other: all that were seen, best first",
    )
    groups: Optional[Tuple[GroupScore, ...]] = Field(
        None,
        max_length=MAX_SENTENCES,
        description="Of a camera whose settings group the model's labels: the likeliest groups, best first",
    )
    notes: Tuple[Sentence, ...] = Field(
        (), max_length=MAX_SENTENCES, description="What of a frame was left out or assumed"
    )


class Rejection(Answer):
    """A frame that gets no Result, and why."""

    reason: Reason
    detail: Sentence
    received_at: UtcTime


class ModelCommand(Message):
    """Which model a worker shall run instead of its own settings' until the command is taken back.

    Retained; an empty payload takes it back. The command for one worker goes before the fleet's. Files that
    the choice names are looked for below the worker's weights folder, and nowhere else.
    """

    #: Says in the worker's status which command it speaks of.
    id: Word = ""
    choice: ModelChoice
    #: Run the former model beside this one, and report how often they agree.
    compare: bool = False


class WorkerAction(Message):
    """What a worker shall do, once and now: not retained."""

    action: Literal["restart", "drain"]


class Change(BaseModel):
    """How a worker stands with the ModelCommand that it follows."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    command: Word = Field(description="The command's id")
    topic: Topic = Field(description="Where it stands: the fleet's or the worker's own control topic")
    model: Name = Field(description="The model it names")
    instead_of: Name = Field(description="The model of the worker's own settings, which it overrides")
    state: Literal["loading", "serving", "failed"]
    detail: Sentence = Field("", description="Why it failed")
    compared: int = Field(0, ge=0, description="Frames that the former model has classified as well")
    agreed: int = Field(0, ge=0, description="Those of them on which both said the same")


class WorkerStatus(Message):
    """One worker as the fleet sees it.

    `instance` tells two processes apart that were given the same id. Workers of the same `group` and
    `inputs` adopt each other's frames: of one that is `lost`, or silent for longer than its lease, another
    drains the session and ends it, which its AdoptionClaim says. Each worker writes its own status only.
    """

    worker: Word
    state: Literal["online", "draining", "offline", "lost"]
    instance: Word = Field("", description="A random name of the process, new at each start")
    group: Word = Field("", description="The shared subscription's")
    inputs: Tuple[Topic, ...] = Field(
        (), max_length=MAX_INPUTS, description="Topic templates it reads frames from"
    )
    lease_seconds: float = Field(30.0, gt=0, description="Silence for longer than this means it is gone")
    model: Name
    weights: Name
    engine: Name
    engine_why: Sentence = Field("", description="Why this engine, on this device")
    device: Name
    assumed: Tuple[Sentence, ...] = Field(
        (), max_length=MAX_SENTENCES, description="What nothing tells of the model's file, and was assumed"
    )
    metrics: Topic = Field("", description="Where it serves its metrics, by its own name for the machine")
    version: Word
    started_at: UtcTime
    sent_at: UtcTime
    frames_per_second: float = Field(0.0, ge=0, description="Answers over the last status interval")
    in_hand: int = Field(0, ge=0, description="Frames received and not yet acked")
    takes_frames: bool = Field(True, description="False while it has stepped aside, to catch up")
    wait_seconds: float = Field(0.0, ge=0, description="What a new frame would wait there, by its last pace")
    accepts_control: bool = Field(True, description="Whether it follows ModelCommands")
    change: Optional[Change] = Field(None, description="The ModelCommand it follows, if there is one")
    latency_seconds: Optional[float] = Field(
        None, ge=0, description="From a frame's receipt to its ack, the mean of the last that were answered"
    )
    temperature_celsius: Optional[float] = Field(
        None, description="Of the hottest zone, on machines that tell"
    )


class AdoptionClaim(Message):
    """One worker drains, or has drained, the session of another that does not return.

    It stands on a topic of the adopter's own, so that a broker can keep each worker from speaking for others.
    It means the process that it names: once the dead worker has returned, as another or as the same that had
    only lost its connection, it means nothing, and the adopter takes it back.
    """

    dead: Word
    instance: Word = Field(description="Which process of the dead worker, as its status names it")
    worker: Word = Field(description="The adopter")
    state: Literal["draining", "ended"]
    frames: int = Field(0, ge=0, description="Taken from that session so far")
    sent_at: UtcTime


class Beacon(Message):
    """A process of a worker is at this very broker, and not only heard of here over a bridge.

    A bridge that carries it has to carry the frames as well.
    """

    worker: Word
    instance: Word
