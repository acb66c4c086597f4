"""Which one of the observers is active, without a coordinator.

All receive the same retained statuses, and rank those that are there: whoever is active comes first, then the
highest weight. So a newcomer displaces nobody, and of two that are active, who had not received each other's
status, one stops. An observer counts as gone when its status is empty, which is its will, or was not repeated
for its lease.

The active one holds a lease of the broker's: it may publish for as long after it sent a status as the others
wait in vain for the next, provided that the broker has taken it. So one that was frozen, or cut off, stops by
itself before another takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Optional, Tuple

from fleet.observer.worker_clocks import boot_clock
from wire.observers import ObserverStatus
from wire.ranking import weight

#: More than any fleet has. On an open broker anyone may write statuses.
MAX_OBSERVERS = 2000
#: Seconds of silence after which nobody counts as there, whatever lease it gave itself; none is longer.
MOST_SILENCE = 60.0
#: Seconds after its own first status until a new observer has received what is retained: not all brokers keep
#: the order.
ALL_RECEIVED_AFTER = 1.0


@dataclass(frozen=True)
class _Other:
    status: ObserverStatus
    #: By this machine's clock.
    received: float


class Election:
    """One observer's view of it. All calls come from one thread, but for `may_publish`.

    Attributes:
        active: whether this observer is active, which its status says.
    """

    def __init__(
        self, own: str, instance: str, root: str, lease: float, clock: Callable[[], float] = boot_clock
    ) -> None:
        """Begin alone.

        Args:
            own: this observer's id.
            instance: a random name of the process.
            root: the fleet's.
            lease: seconds without a new status after which others take this observer for gone.
            clock: seconds.
        """
        self.active = False
        self._own = own
        self._instance = instance
        self._root = root
        self._lease = lease
        self._clock = clock
        self._others: Dict[Tuple[str, str], _Other] = {}
        self._lease_ends = float("-inf")
        #: When this observer received its own first status.
        self._echoed = float("inf")

    def receive(self, status: ObserverStatus, *, retained: bool) -> None:
        """Take a status; a retained one may be of an observer that is gone, and counts for its lease."""
        key = (status.observer, status.instance)
        if status.instance == self._instance:
            self._echoed = min(self._echoed, self._clock())
        elif status.observer == self._own and retained:
            pass  # an earlier process of this very observer
        elif key in self._others or len(self._others) < MAX_OBSERVERS:
            self._others[key] = _Other(status, self._clock())

    def left(self, observer: str) -> None:
        """Take an empty status: its observer has left, or was lost.

        Where several share a name, it does not say which one: then each counts for its lease.
        """
        of_that_name = [key for key in self._others if key[0] == observer]
        if len(of_that_name) == 1:
            del self._others[of_that_name[0]]

    def confirmed(self, sent: float) -> None:
        """The broker has taken a status of this observer that was sent then."""
        self._lease_ends = max(self._lease_ends, sent + self._lease)

    @property
    def was_confirmed(self) -> bool:
        """Whether the broker has ever taken one."""
        return self._lease_ends > float("-inf")

    def is_first(self) -> bool:
        """Whether this observer is to be active: it knows the others, holds its lease, and ranks first."""
        now = self._clock()
        if now < self._echoed + ALL_RECEIVED_AFTER or now >= self._lease_ends:
            return False
        self._forget_silent(now)
        own = (self.active, self._weight(self._own, self._instance))
        return all(own > self._rank(other.status) for other in self._others.values())

    def active_other(self) -> Optional[str]:
        """The name of another observer that is active; None if none is known."""
        active = [other.status for other in self._others.values() if other.status.active]
        return max(active, key=self._rank).observer if active else None

    def may_publish(self) -> bool:
        """Whether this observer is active, and nobody can have taken its place yet; for any thread."""
        return self.active and self._clock() < self._lease_ends

    def _forget_silent(self, now: float) -> None:
        for key, other in list(self._others.items()):
            if now - other.received >= min(MOST_SILENCE, other.status.lease_seconds):
                del self._others[key]

    def _rank(self, status: ObserverStatus) -> Tuple[bool, bytes]:
        return status.active, self._weight(status.observer, status.instance)

    def _weight(self, observer: str, instance: str) -> bytes:
        return weight(f"{observer}/{instance}", self._root)
