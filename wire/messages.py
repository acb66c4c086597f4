"""The JSON messages of a fleet, each a frozen model; `wire.message` says what is common to all.

    Result          nanofleet/results/<camera>     worker -> listeners
    Rejection       nanofleet/rejects/<camera>     worker -> listeners
    WorkerStatus    nanofleet/workers/<worker>     worker -> fleet, retained; also the will
    AdoptionClaim   nanofleet/workers/<dead>/adoption/<worker>    worker -> fleet, retained
    Beacon          nanofleet/beacons/<worker>     worker -> fleet, retained
    ModelCommand    nanofleet/control/model        operator -> workers, retained
                    nanofleet/control/<worker>/model
    WorkerAction    nanofleet/control/<worker>/action    operator -> worker

Readers tolerate unknown fields. `schema` is 1; a reader refuses another number.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Dict, Literal, Optional, Tuple

from pydantic import BaseModel, ConfigDict, Field

from wire.lengths import MAX_FEW_LABELS, MAX_INPUTS, MAX_LABELS, MAX_SENTENCES, Name, Sentence, Topic, Word
from wire.message import Message as Message
from wire.message import UtcTime as UtcTime
from wire.message import explain as explain
from wire.message import utc_now as utc_now
from wire.model_choice import ModelChoice

#: A frame id: visible ASCII, so that it can stand in logs, JSON and user properties alike.
FRAME_ID = r"^[\x21-\x7e]{1,128}$"
#: The user properties of a frame that is published as plain image bytes.
FRAME_ID_PROPERTY = "frame-id"
CAPTURED_AT_PROPERTY = "captured-at"
SENT_AT_PROPERTY = "sent-at"
#: Those that a snapshot has beside them.
LABEL_PROPERTY = "label"
CONFIDENCE_PROPERTY = "confidence"


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
    repeats: Optional[Word] = Field(
        None,
        description="The frame whose answer this is, where this one hardly differs from it and was not "
        "classified. Other results have no such field",
    )

    def encode(self) -> bytes:
        """See Message."""
        unsaid = {"repeats"} if self.repeats is None else None
        return self.model_dump_json(by_alias=True, exclude=unsaid).encode()


class Rejection(Answer):
    """The answer to a frame that gets no Result, and why."""

    reason: Reason
    detail: Sentence
    received_at: UtcTime


class ModelCommand(Message):
    """Which model workers run instead of the one of their own settings, until the command is taken back.

    Retained; an empty payload takes it back. A command for one worker takes precedence over the fleet's.
    Files that the choice names must lie below the worker's weights folder.
    """

    #: Names the command in the status of each worker that follows it.
    id: Word = ""
    choice: ModelChoice
    #: Run the former model beside this one, and report how often they agree.
    compare: bool = False


class WorkerAction(Message):
    """What a worker shall do, once and now: not retained."""

    action: Literal["restart", "drain"]


class Change(BaseModel):
    """How far a worker is with the ModelCommand that it follows."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    command: Word = Field(description="The command's id")
    topic: Topic = Field(description="Its topic: the fleet's or the worker's own")
    model: Name = Field(description="The model it names")
    instead_of: Name = Field(description="The model of the worker's own settings, which it overrides")
    state: Literal["loading", "serving", "failed"]
    detail: Sentence = Field("", description="Why it failed")
    compared: int = Field(0, ge=0, description="Frames that the former model has classified as well")
    agreed: int = Field(0, ge=0, description="Those of them to which both gave the same label")


class WorkerStatus(Message):
    """What a worker reports of itself.

    `instance` distinguishes two processes that were given the same id. Workers of the same `group` and
    `inputs` adopt each other's frames: where one is `lost`, or silent for longer than its lease, another
    drains its session and ends it, and announces that by an AdoptionClaim. Each worker writes its own status
    only.
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
        (), max_length=MAX_SENTENCES, description="What the model's file does not say, and was assumed"
    )
    metrics: Topic = Field("", description="URL of its metrics, with the machine's own host name")
    version: Word
    started_at: UtcTime
    sent_at: UtcTime
    frames_per_second: float = Field(0.0, ge=0, description="Answers over the last status interval")
    in_hand: int = Field(0, ge=0, description="Frames received and not yet acked")
    takes_frames: bool = Field(True, description="False while it has stepped aside, to catch up")
    wait_seconds: float = Field(
        0.0, ge=0, description="How long a new frame would wait there, at its last speed"
    )
    accepts_control: bool = Field(True, description="Whether it follows ModelCommands and WorkerActions")
    change: Optional[Change] = Field(None, description="The ModelCommand it follows, if there is one")
    latency_seconds: Optional[float] = Field(
        None, ge=0, description="From a frame's receipt to its ack, the mean of the last that were answered"
    )
    temperature_celsius: Optional[float] = Field(
        None, description="Of the hottest zone, on machines that tell"
    )
    labels: Tuple[Name, ...] = Field(
        (), max_length=MAX_FEW_LABELS, description="The model's, where they are few; nothing of one with many"
    )


class AdoptionClaim(Message):
    """One worker drains, or has drained, the session of another that does not return.

    Its topic is the adopter's own, so that a broker can keep each worker from writing in another's name. It
    concerns the process that it names only: once the dead worker is back, as a new process or as the same
    that had only lost its connection, the claim is void, and the adopter takes it back.
    """

    dead: Word
    instance: Word = Field(description="Which process of the dead worker, as its status names it")
    worker: Word = Field(description="The adopter")
    state: Literal["draining", "ended"]
    frames: int = Field(0, ge=0, description="Taken from that session so far")
    sent_at: UtcTime


class Beacon(Message):
    """A worker's process is connected to this very broker, and not only known here over a bridge.

    A bridge that carries it has to carry the frames as well.
    """

    worker: Word
    instance: Word
