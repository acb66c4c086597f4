"""What an observer is to do."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Optional

from fleet.observer.election import MOST_SILENCE
from wire.broker import Broker
from wire.cameras import CameraSettings
from wire.topics import Topics

#: Statuses that may fail to come before an observer counts as gone.
LEASE_STATUSES = 3
#: Seconds between two, at most, whatever the worker's interval is: no longer lease counts in an election.
MOST_INTERVAL = MOST_SILENCE / LEASE_STATUSES


class Task(NamedTuple):
    """What an observer observes, and what it makes of it.

    Attributes:
        broker: where.
        topics: the fleet's.
        observer: its id.
        status_interval: seconds between two statuses, at most.
        file: the settings of cameras in its own file.
        silent_after: seconds without an answer after which a camera is silent; 0: never.
        discovery_prefix: where cameras and workers are announced to Home Assistant; None for nowhere.
    """

    broker: Broker
    topics: Topics
    observer: str
    status_interval: float
    file: Mapping[str, CameraSettings]
    silent_after: float
    discovery_prefix: Optional[str]

    @property
    def interval(self) -> float:
        """Seconds between two of its statuses."""
        return min(self.status_interval, MOST_INTERVAL)

    @property
    def lease(self) -> float:
        """Seconds of silence after which another takes its place."""
        return LEASE_STATUSES * self.interval
