"""Whether this worker takes new frames now, or leaves them to faster ones until it has caught up.

Some brokers, Mosquitto among them, deal the frames of a shared subscription in turn, to each member the same
number: the slowest then sets the pace for all.

    taking ── a new frame would wait too long here, and less than half as long with another
      │ ^
      │ └──── no other takes frames any more
      v
    announced ── PUBACK, and still another takes frames ──> aside: unsubscribed, answering what it has
                                                              │
    taking <── half of that is done, or no other takes frames ─┘

Of several that step aside at the same moment one must stay, because frames without a subscriber are lost.
Each announces it first. By the time the broker's PUBACK comes, the worker has heard every announcement that
the broker took before its own; so at least the last of them sees that it is the last, and stays.
"""

from __future__ import annotations

import time
from enum import Enum
from typing import Callable, Tuple

from worker.membership.peers import Peers

#: Seconds between two announcements, and how much longer that is for each other worker: all hear each.
PAUSE = 0.1
PAUSE_FOR_EACH = 0.05
#: The frames over which the time that one takes is averaged.
MEMORY = 32
#: Fewer frames than this make no queue, however slow the worker is.
SHORTEST_QUEUE = 1.5


class _State(Enum):
    TAKING = "taking"
    ANNOUNCED = "announced"
    ASIDE = "aside"
    LEAVING = "leaving"


class Pacing:
    """All calls come from the network thread."""

    def __init__(
        self,
        peers: Peers,
        limit: float,
        *,
        publish_status: Callable[[Callable[[], None]], None],
        step_aside: Callable[[], None],
        step_in: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        peers: the other workers.
        limit: seconds that a new frame may wait here; 0 to take frames always.
        publish_status: does that, and calls back when the broker has taken it.
        step_aside: leaves the shared subscriptions.
        step_in: takes them up again.
        clock: seconds.
        """
        self._peers = peers
        self._limit = limit
        self._publish_status = publish_status
        self._step_aside = step_aside
        self._step_in = step_in
        self._clock = clock
        self._state = _State.TAKING
        self._in_hand = 0
        self._since = clock()
        self._seconds_a_frame = 0.0
        self._quiet_until = 0.0
        self._told = 0.0
        self._may_step_aside = False

    @property
    def wait(self) -> float:
        """Seconds that a new frame would wait here, by the pace of the last ones."""
        return self._in_hand * self._seconds_a_frame

    @property
    def aside(self) -> bool:
        """Whether this worker has left the shared subscriptions, to catch up."""
        return self._state is _State.ASIDE

    def report(self) -> Tuple[bool, float]:
        """What a status tells: whether this worker takes frames, and the wait in seconds."""
        self._told = self.wait
        return self._state is _State.TAKING, round(self._told, 3)

    def received(self) -> None:
        """A frame has come."""
        if not self._in_hand:
            self._since = self._clock()
        self._in_hand += 1
        self.check()

    def answered(self, count: int) -> None:
        """Some frames have their answers."""
        now = self._clock()
        seconds = (now - self._since) / count
        weight = min(1.0, count / MEMORY) if self._seconds_a_frame else 1.0
        self._seconds_a_frame += (seconds - self._seconds_a_frame) * weight
        self._since = now
        self._in_hand -= count
        self.check()

    def connected(self, may_step_aside: bool) -> None:
        """The connection is there.

        Args:
            may_step_aside: whether a shared subscription goes on when a member leaves it and comes back.
        """
        self._may_step_aside = may_step_aside
        self.check()

    def check(self) -> None:
        """Step aside, or in, if it is time; tell the others of a wait that has become much shorter."""
        if self._state is _State.ASIDE:
            if self.wait <= self._longest_wait() / 2 or not self._peers.takers():
                self._take_again()
        elif self._state is _State.TAKING and self._limit and self._clock() >= self._quiet_until:
            if self._may_step_aside and self._others_are_faster():
                self._state = _State.ANNOUNCED
                self._announce(self._announced)
            elif self._told > self._limit / 2 and self.wait < self._told / 2:
                self._announce(lambda: None)

    def leave(self) -> None:
        """Neither step aside nor in any more: the worker leaves."""
        self._state = _State.LEAVING

    def _announced(self) -> None:
        if self._state is not _State.ANNOUNCED:
            return
        if self._peers.takers():
            self._state = _State.ASIDE
            self._step_aside()
        else:
            self._take_again()

    def _take_again(self) -> None:
        self._state = _State.TAKING
        self._step_in()
        self._announce(lambda: None)

    def _announce(self, then: Callable[[], None]) -> None:
        self._quiet_until = self._clock() + PAUSE + PAUSE_FOR_EACH * len(self._peers)
        self._publish_status(then)

    def _others_are_faster(self) -> bool:
        return self.wait > self._longest_wait() and any(
            peer.wait_seconds < self.wait / 2 for peer in self._peers.takers()
        )

    def _longest_wait(self) -> float:
        return max(self._limit, SHORTEST_QUEUE * self._seconds_a_frame)
