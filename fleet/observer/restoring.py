"""What the broker has retained, as it comes after the subscriptions, and when all of it has.

Only what comes with the retain flag says that more may come: nobody but the broker sets it, for what stands
there already. So nothing that is published meanwhile can keep an observer waiting.
"""

from __future__ import annotations

import time
from typing import Callable, Dict, List, Optional

from wire.camera_settings import MAX_CAMERAS
from wire.cameras import CameraState

#: Seconds without a retained message after which all have come, and until it goes on without the rest.
QUIET_SECONDS, MOST_SECONDS = 0.5, 10.0
#: Seconds until nothing retained is expected any more: what is unknown by then is of cameras that are gone.
SETTLED_SECONDS = 60.0


class Restoring:
    """The states to go on from, until they are taken. All calls come from one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without any.

        Args:
            clock: seconds.
        """
        self._clock = clock
        self._began: Optional[float] = None
        self._last = 0.0
        self._states: Dict[str, CameraState] = {}

    def begin(self) -> None:
        """The subscriptions are confirmed: from now on the broker is waited for."""
        if self._began is None:
            self._began = self._last = self._clock()

    def came(self) -> None:
        """Something retained has come."""
        self._last = self._clock()

    def add(self, state: CameraState) -> None:
        """Keep a retained state."""
        if state.camera in self._states or len(self._states) < MAX_CAMERAS:
            self._states[state.camera] = state

    def forget(self, camera: str) -> None:
        """Somebody has removed a camera meanwhile."""
        self._states.pop(camera, None)

    def take(self) -> List[CameraState]:
        """The states to go on from; they are forgotten here."""
        states, self._states = list(self._states.values()), {}
        return states

    @property
    def is_complete(self) -> bool:
        """Whether all that is retained has come, or has been waited for long enough."""
        if self._began is None:
            return False
        return self._clock() - self._last >= QUIET_SECONDS or self._clock() - self._began >= MOST_SECONDS

    @property
    def is_settled(self) -> bool:
        """Whether nothing is to be expected any more that comes late."""
        return self._began is not None and self._clock() - self._began >= SETTLED_SECONDS
