"""The message by which observers know of each other.

ObserverStatus      nanofleet/observers/<observer>      observer -> observers, retained; the will is empty
"""

from __future__ import annotations

from pydantic import Field

from wire.lengths import Word
from wire.messages import Message


class ObserverStatus(Message):
    """One observer is there; an empty payload means that it has left, or was lost.

    `instance` tells two processes apart that were given the same id. The one that is `active` keeps the
    cameras' states. It stops by itself when the broker has taken no status of it for `lease_seconds`, and
    whoever has received none for as long takes its place.
    """

    observer: Word
    instance: Word = Field(description="A random name of the process, new at each start")
    active: bool
    lease_seconds: float = Field(gt=0, le=3600)
    version: Word
