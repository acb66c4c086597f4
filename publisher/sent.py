"""A frame on its way, as the publisher knows it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import List, Optional, Tuple, Union

from publisher.frame_files import Kept
from wire.messages import CAPTURED_AT_PROPERTY, SENT_AT_PROPERTY, Rejection, Result, utc_now
from wire.mqtt.pubacks import REFUSED

#: Seconds by which the clock is set, at most, while a frame's time of capture stays as it was noted.
SET_AT_MOST = 1.0


@dataclass
class Sent:
    """A frame on its way. `source` is the caller's own name for it."""

    frame_id: str
    camera: str
    source: str
    captured_at: str = field(default_factory=lambda: utc_now().isoformat())
    #: By time.perf_counter.
    started: float = field(default_factory=time.perf_counter)
    answer: Union[Result, Rejection, None] = None
    #: The broker's reason code for the frame; 0x10 says that nobody subscribes to its topic.
    reason_code: Optional[int] = None
    milliseconds: float = 0.0
    #: Whether its report has begun.
    done: bool = False
    #: How often it was sent.
    tries: int = 0
    #: How often the broker refused it, for no reason that passes.
    refusals: int = 0
    #: The spool gave it up, to make room.
    dropped: bool = False
    #: Why the spool could not read it, if so.
    unreadable: str = ""
    #: What the clock showed beyond the seconds since the boot, at the capture; None of an earlier run's.
    clock: Optional[float] = None

    @classmethod
    def of_earlier_run(cls, kept: Kept) -> Sent:
        """A frame that an earlier run has left in the spool."""
        return cls(kept.frame_id, kept.camera, kept.source, kept.captured_at)

    def times(self) -> List[Tuple[str, str]]:
        """When it was captured and when it is sent, both by the clock as it is now.

        A machine without a battery begins in 1970, and its clock jumps once it learns the time.
        """
        captured_at, now = self.captured_at, utc_now()
        jumped = 0.0 if self.clock is None else clock_since_boot() - self.clock
        if abs(jumped) > SET_AT_MOST:
            captured_at = (datetime.fromisoformat(captured_at) + timedelta(seconds=jumped)).isoformat()
        return [(CAPTURED_AT_PROPERTY, captured_at), (SENT_AT_PROPERTY, now.isoformat())]

    @property
    def refused(self) -> bool:
        """Whether the broker has refused it, so that no answer can come."""
        return self.reason_code is not None and self.reason_code >= REFUSED


def clock_since_boot() -> float:
    """What the clock shows beyond the seconds since the boot: it changes where the clock is set."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
