"""What a kind of hostile message is, and what may come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Tuple, Union

#: An outcome beside the reasons for a rejection: the picture can be seen.
RESULT = "result"
#: A worker's limits, which some kinds are made for.
MAX_PIXELS = 64_000_000
MAX_PAYLOAD = 1_000_000

Properties = List[Tuple[str, str]]


def with_id(frame_id: str) -> Properties:
    """The user property that names a frame."""
    return [("frame-id", frame_id)]


def without_id(frame_id: str) -> Properties:
    """No user property: the frame is named by its envelope, or else by a hash."""
    return []


@dataclass(frozen=True)
class Kind:
    """One kind of message.

    Attributes:
        name: unique, for the report.
        payload: the same for each frame, or made for the frame of an id.
        outcomes: `result` and the reasons for a rejection that are right, in words between spaces.
        user_properties: beside the frame of an id.
        hashed: whether the worker cannot know the id that was meant, and answers under a hash instead.
        more: other MQTT 5 properties, by paho's names.
        costly: takes a decoder a second or more, or much of its memory: to be sent a few times only.
    """

    name: str
    payload: Union[bytes, Callable[[str], bytes]]
    outcomes: str
    user_properties: Callable[[str], Properties] = with_id
    hashed: bool = False
    more: Dict[str, Any] = field(default_factory=dict)
    costly: bool = False

    def bytes_for(self, frame_id: str) -> bytes:
        """The payload of one frame."""
        return self.payload if isinstance(self.payload, bytes) else self.payload(frame_id)
