"""A frame on its way, as the publisher knows it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Optional, Union

from wire.messages import Rejection, Result, utc_now
from wire.pubacks import REFUSED


@dataclass
class Sent:
    """A frame on its way. `source` is the caller's own name for it."""

    frame_id: str
    camera: str
    source: str
    captured_at: str = field(default_factory=lambda: utc_now().isoformat())
    sent: float = field(default_factory=time.perf_counter)
    answer: Union[Result, Rejection, None] = None
    #: The broker's reason code for the frame; 0x10 says that nobody was there to take it.
    reason_code: Optional[int] = None
    milliseconds: float = 0.0
    #: How often it went out.
    tries: int = 0
    #: How often the broker said no.
    refusals: int = 0
    #: The spool gave it up, to make room.
    dropped: bool = False
    #: Why the spool could not read it, if so.
    unreadable: str = ""

    @property
    def refused(self) -> bool:
        """Whether the broker said no, so that no answer can come."""
        return self.reason_code is not None and self.reason_code >= REFUSED
