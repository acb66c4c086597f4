"""The JSON messages that speak of one camera; those of the observer's state and the settings are retained.

CameraState      nanofleet/cameras/<camera>             observer -> Home Assistant, pages, members
CameraEvent      nanofleet/events/<camera>              observer -> Home Assistant, not retained
SnapshotNotice   nanofleet/snapshots/<camera>/notice    worker -> workers, not retained
CameraSettings   nanofleet/settings/cameras/<camera>    operator -> workers and the observer
"""

from __future__ import annotations

import unicodedata
from typing import Any, ClassVar, Dict, Literal, Optional, Tuple, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Annotated

from wire.lengths import MAX_LABELS, Name, Word
from wire.messages import Candidate, Message, Reason, UtcTime

#: What a camera sees where nothing is sure enough: a state of its own, and no guess.
NONE = "none"
#: Groups that one camera's settings may make, at most.
MAX_GROUPS = 64


class CameraState(Message):
    """What a camera sees, and how it is.

    `label` is the last frame's answer; `stable` changes only when a label has held (see `Stability`), and is
    `none` when nothing is sure enough. `group` is to the groups what `stable` is to the labels.
    """

    camera: Word
    name: Name = Field("", description="The friendly name of its settings")
    area: Name = ""
    label: Optional[Name] = None
    confidence: Optional[float] = Field(None, ge=0, le=1)
    top: Tuple[Candidate, ...] = Field((), max_length=MAX_LABELS)
    stable: Name = NONE
    stable_confidence: Optional[float] = Field(None, ge=0, le=1)
    stable_since: Optional[UtcTime] = None
    group: Word = NONE
    group_confidence: Optional[float] = Field(None, ge=0, le=1)
    group_since: Optional[UtcTime] = None
    last_known: Optional[Name] = Field(None, description="The last stable label that was not none")
    last_known_at: Optional[UtcTime] = None
    last_seen: Optional[UtcTime] = Field(None, description="When its last answer came, a rejection too")
    frame_id: Optional[Word] = Field(None, description="The last answered frame's")
    frames: int = Field(0, ge=0, description="Results since the camera was first seen")
    rejections: int = Field(0, ge=0)
    last_rejection: Optional[Reason] = None
    rejected_last: bool = Field(False, description="Whether the last answer was a rejection")
    worker: Optional[Word] = None
    model: Optional[Name] = None
    silent: bool = Field(False, description="Whether no answer came for longer than --silent-after")


class CameraEvent(Message):
    """A camera's stable label, or its group, has changed to one that is known; the other may be `none`."""

    event_type: Literal["classified"] = "classified"
    camera: Word
    label: Name
    confidence: float = Field(ge=0, le=1)
    group: Word = NONE
    frame_id: Word
    at: UtcTime


class SnapshotNotice(Message):
    """A worker has published a snapshot of a camera: the others need not, until its label changes."""

    worker: Word
    camera: Word
    label: Name
    frame_id: Word


class Stability(BaseModel):
    """When a label is stable: it was the best in `k` of the last `n` frames, each above a confidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(3, ge=1, le=100)
    n: int = Field(5, ge=1, le=100)
    min_confidence: float = Field(0.5, gt=0, le=1)
    of: Literal["label", "group"] = Field(
        "label", description="Whether the stable label is a label or a group"
    )

    @model_validator(mode="after")
    def _k_of_n(self) -> Stability:
        if self.k > self.n:
            raise ValueError(
                f"k is {self.k}, but n is {self.n}: so many of {self.n} frames cannot agree; set n as well"
            )
        return self


def _region(region: Tuple[float, float, float, float]) -> Tuple[float, float, float, float]:
    left, top, right, bottom = region
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(
            "a region is left, top, right, bottom, each from 0 to 1, left < right and top < bottom"
        )
    return region


#: The part of a picture that is classified: left, top, right, bottom, as fractions of the upright picture.
Region = Annotated[Tuple[float, float, float, float], AfterValidator(_region)]


#: Control characters, and the ends of lines and paragraphs; not the joiners that some scripts and emoji need.
_CONTROL = ("Cc", "Zl", "Zp")


def _title(text: str) -> str:
    if any(unicodedata.category(character) in _CONTROL for character in text):
        raise ValueError("it has a control character, such as a line's end")
    if text and not text.strip():
        raise ValueError("it has nothing but blanks: leave it empty for the default")
    return text.strip()


#: What people call a camera or a room.
Title = Annotated[Name, AfterValidator(_title)]


def _named(group: str) -> str:
    if _title(group).lower() in ("", NONE):
        raise ValueError(f"a group is not called {group!r}: that would say that nothing is seen")
    return _title(group)


def apart(groups: Dict[str, Tuple[str, ...]]) -> Dict[str, Tuple[str, ...]]:
    """The same groups.

    Raises:
        ValueError: a label stands in two of them.
    """
    group_of: Dict[str, str] = {}
    for group, labels in groups.items():
        for label in labels:
            if group_of.setdefault(label, group) != group:
                raise ValueError(
                    f"a label has one group, {label!r} stands in {group_of[label]!r} and in {group!r}"
                )
    return groups


#: Labels by group; a label stands in one at most.
Groups = Annotated[
    Dict[Annotated[Word, AfterValidator(_named)], Tuple[Name, ...]],
    Field(min_length=1, max_length=MAX_GROUPS),
    AfterValidator(apart),
]


class CameraSettings(Message):
    """One camera's settings; an empty payload takes them back.

    Unknown fields are refused: a misspelt one would change nothing without a word.
    """

    model_config = ConfigDict(extra="forbid")

    #: Room for groups of all the labels that a large model has.
    MAX_BYTES: ClassVar[int] = 1 << 18
    MAX_PARTS: ClassVar[int] = MAX_BYTES // 8

    name: Title = ""
    area: Title = ""
    region: Optional[Region] = None
    groups: Union[Literal["home", "none"], Groups] = Field(
        "home", description="The package's groups, none, or one's own: group -> labels"
    )
    stable: Stability = Stability()
    max_age: Optional[float] = Field(
        None, ge=0, description="Seconds; instead of the workers' --max-age; 0: never too old"
    )
    skip_still: Optional[bool] = Field(
        None, description="Whether frames that hardly differ are not classified; instead of --skip-still"
    )
    silent_after: Optional[float] = Field(
        None, ge=0, description="Seconds; instead of the observer's --silent-after; 0: never"
    )

    @model_validator(mode="before")
    @classmethod
    def _stable_has_a_table(cls, given: Any) -> Any:
        for name in Stability.model_fields:
            if isinstance(given, dict) and name in given:
                raise ValueError(f"{name} is a setting of the stable label: write stable = {{{name} = …}}")
        return given
