"""The JSON messages of a fleet, each a frozen model that encodes and decodes itself.

    Result          nanofleet/results/<camera>     worker -> listeners
    Rejection       nanofleet/rejects/<camera>     worker -> listeners
    WorkerStatus    nanofleet/workers/<worker>     worker -> fleet, retained; also the will
    AdoptionClaim   nanofleet/workers/<dead>/adoption/<worker>    worker -> fleet, retained
    ModelCommand    nanofleet/control/model        operator -> workers, retained
                    nanofleet/control/<worker>/model

Readers tolerate unknown fields. `schema` is 1; a reader refuses another number.
"""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import Dict, Literal, Optional, Tuple, Type, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Annotated

from wire.choice import ModelChoice
from wire.errors import DecodeError

M = TypeVar("M", bound="Message")

#: A frame id: visible ASCII, so that it can stand in logs, JSON and user properties alike.
FRAME_ID = r"^[\x21-\x7e]{1,128}$"
#: The user properties of a frame that is published as plain image bytes.
FRAME_ID_PROPERTY = "frame-id"
CAPTURED_AT_PROPERTY = "captured-at"
SENT_AT_PROPERTY = "sent-at"


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

    schema_: Literal[1] = Field(1, alias="schema")

    def encode(self) -> bytes:
        """The JSON payload, UTF-8. Times are RFC 3339 with a `Z`."""
        return self.model_dump_json(by_alias=True).encode()

    @classmethod
    def decode(cls: Type[M], payload: bytes) -> M:
        """Read a payload.

        Raises:
            DecodeError: it is not JSON, or not this message; the text names the fields at fault.
        """
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            raise DecodeError(f"not a {cls.__name__}: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """The faults in a validation error on one line, without the (perhaps huge, perhaps secret) input."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" if fault["loc"] else fault["msg"]
        for fault in faults
    )


class Candidate(BaseModel):
    """One of a Result's top k."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    label: str
    index: int = Field(ge=0)
    confidence: float = Field(ge=0, le=1)


class Result(Message):
    """The answer to one frame. `label`, `index` and `confidence` repeat the first of `top`."""

    frame_id: str
    camera: str
    worker: str
    model: str
    weights: str
    label: str
    index: int = Field(ge=0)
    confidence: float = Field(ge=0, le=1)
    top: Tuple[Candidate, ...]
    width: int = Field(description="Pixels of the upright image as it was sent")
    height: int
    captured_at: Optional[UtcTime] = None
    received_at: UtcTime
    answered_at: UtcTime
    timings_ms: Dict[str, float] = Field(description="Milliseconds: queue, decode, inference, total")
    batch_size: int = Field(ge=1)
    complete: bool = Field(True, description="False where a part of the image was missing")
    labels: Optional[Tuple[str, ...]] = Field(
        None, description="Of a model whose classes do not exclude each other: all that were seen, best first"
    )
    notes: Tuple[str, ...] = Field((), description="What of a frame was left out or assumed")


class Rejection(Message):
    """A frame that gets no Result, and why."""

    frame_id: str
    camera: str
    worker: str
    reason: Reason
    detail: str
    received_at: UtcTime


class ModelCommand(Message):
    """Which model a worker shall run instead of its own settings' until the command is taken back.

    Retained; an empty payload takes it back. The command for one worker goes before the fleet's. Files that
    the choice names are looked for below the worker's weights folder, and nowhere else.
    """

    #: Says in the worker's status which command it speaks of.
    id: str = ""
    choice: ModelChoice
    #: Run the former model beside this one, and report how often they agree.
    compare: bool = False


class Change(BaseModel):
    """How a worker stands with the ModelCommand that it follows."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    command: str = Field(description="The command's id")
    topic: str = Field(description="Where it stands: the fleet's or the worker's own control topic")
    model: str = Field(description="The model it names")
    instead_of: str = Field(description="The model of the worker's own settings, which it overrides")
    state: Literal["loading", "serving", "failed"]
    detail: str = Field("", description="Why it failed")
    compared: int = Field(0, ge=0, description="Frames that the former model has classified as well")
    agreed: int = Field(0, ge=0, description="Those of them on which both said the same")


class WorkerStatus(Message):
    """One worker as the fleet sees it.

    `instance` tells two processes apart that were given the same id. Workers of the same `group` and
    `inputs` adopt each other's frames: of one that is `lost`, or silent for longer than its lease, another
    drains the session and ends it, which its AdoptionClaim says. Each worker writes its own status only.
    """

    worker: str
    state: Literal["online", "draining", "offline", "lost"]
    instance: str = Field("", description="A random name of the process, new at each start")
    group: str = Field("", description="The shared subscription's")
    inputs: Tuple[str, ...] = Field((), description="Topic templates it reads frames from")
    lease_seconds: float = Field(30.0, gt=0, description="Silence for longer than this means it is gone")
    model: str
    weights: str
    engine: str
    engine_why: str = Field("", description="Why this engine, on this device")
    device: str
    assumed: Tuple[str, ...] = Field(
        (), description="What nothing tells of the model's file, and was assumed"
    )
    metrics: str = Field("", description="Where it serves its metrics, by its own name for the machine")
    version: str
    started_at: UtcTime
    sent_at: UtcTime
    frames_per_second: float = Field(0.0, ge=0, description="Answers over the last status interval")
    in_hand: int = Field(0, ge=0, description="Frames received and not yet acked")
    takes_frames: bool = Field(True, description="False while it has stepped aside, to catch up")
    wait_seconds: float = Field(0.0, ge=0, description="What a new frame would wait there, by its last pace")
    accepts_control: bool = Field(True, description="Whether it follows ModelCommands")
    change: Optional[Change] = Field(None, description="The ModelCommand it follows, if there is one")


class AdoptionClaim(Message):
    """One worker drains, or has drained, the session of another that does not return.

    It stands on a topic of the adopter's own, so that a broker can keep each worker from speaking for others.
    It means the process that it names: once the dead worker has returned as another, it means nothing.
    """

    dead: str
    instance: str = Field(description="Which process of the dead worker, as its status names it")
    worker: str = Field(description="The adopter")
    state: Literal["draining", "ended"]
    frames: int = Field(0, ge=0, description="Taken from that session so far")
    sent_at: UtcTime
