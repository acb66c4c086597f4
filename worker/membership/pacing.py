"""Whether this worker takes new frames now, or leaves them to faster ones until it has caught up.

Some brokers, Mosquitto among them, deliver the frames of a shared subscription in turn, to each member the
same number: the slowest then slows down all.

    taking ── a new frame would wait too long here, and less than half as long with another
      │ ^
      │ └──── no other takes frames any more
      v
    announced ── PUBACK, and still another takes frames ──> aside: unsubscribed, answering what it has
                                                              │
    taking <── half of that is done, or no other takes frames ─┘

Of several that step aside at the same moment one must stay, because frames without a subscriber are lost.
Each announces it first. By the time the broker's PUBACK comes, the worker has received every announcement
that the broker took before its own; so at least the last of them sees that it is the last, and stays.
"""

from __future__ import annotations

import time
from enum import Enum
from typing import Callable, Tuple

from worker.membership.peers import Peers

#: Seconds between two announcements, and how many more for each other worker, because all receive each.
PAUSE_SECONDS = 0.1
PAUSE_SECONDS_FOR_EACH = 0.05
#: The frames over which the time that one takes is averaged.
AVERAGED_FRAMES = 32
#: Fewer frames than this make no queue, however slow the worker is.
SHORTEST_QUEUE_FRAMES = 1.5


class _State(Enum):
    TAKING = "taking"
    ANNOUNCED = "announced"
    ASIDE = "aside"
    LEAVING = "leaving"


class Pacing:
    """How fast frames are answered, and whether more are taken. All calls come from the network thread."""

    def __init__(
        self,
        peers: Peers,
        limit: float,
        *,
        publish_status: Callable[[Callable[[], None]], None],
        take_frames: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin in the state `taking`.

        Args:
            peers: the other workers.
            limit: seconds that a new frame may wait here; 0 to take frames always.
            publish_status: publishes the worker's status, and calls back when the broker has taken it.
            take_frames: leaves the shared subscriptions, or subscribes again.
            clock: seconds.
        """
        self._peers = peers
        self._limit = limit
        self._publish_status = publish_status
        self._take_frames = take_frames
        self._clock = clock
        self._state = _State.TAKING
        self._unanswered = 0
        self._since = clock()
        self._seconds_a_frame = 0.0
        self._quiet_until = 0.0
        self._reported_wait = 0.0
        self._may_step_aside = False

    @property
    def wait(self) -> float:
        """Seconds that a new frame would wait here, if all take as long as the last ones."""
        return self._unanswered * self._seconds_a_frame

    @property
    def aside(self) -> bool:
        """Whether this worker has left the shared subscriptions, to catch up."""
        return self._state is _State.ASIDE

    def report(self) -> Tuple[bool, float]:
        """For a status: whether this worker takes frames, and the wait in seconds."""
        self._reported_wait = self.wait
        return self._state is _State.TAKING, round(self._reported_wait, 3)

    def received(self) -> None:
        """Note that a frame has come."""
        if not self._unanswered:
            self._since = self._clock()
        self._unanswered += 1
        self.check()

    def answered(self, count: int) -> None:
        """Note that some frames have their answers."""
        now = self._clock()
        seconds = (now - self._since) / count
        weight = min(1.0, count / AVERAGED_FRAMES) if self._seconds_a_frame else 1.0
        self._seconds_a_frame += (seconds - self._seconds_a_frame) * weight
        self._since = now
        self._unanswered -= count
        self.check()

    def connected(self, may_step_aside: bool) -> None:
        """Note that the connection is there.

        Args:
            may_step_aside: whether a shared subscription goes on when a member leaves it and comes back.
        """
        self._may_step_aside = may_step_aside
        self.check()

    def check(self) -> None:
        """Step aside, or in, if it is time; report to the others a wait that has become much shorter."""
        if self._state is _State.ASIDE:
            if self.wait <= self._longest_wait() / 2 or not self._peers.takers():
                self._take_again()
        elif self._state is _State.TAKING and self._limit and self._clock() >= self._quiet_until:
            if self._may_step_aside and self._others_are_faster():
                self._state = _State.ANNOUNCED
                self._announce(self._announced)
            elif self._reported_wait > self._limit / 2 and self.wait < self._reported_wait / 2:
                self._announce(lambda: None)

    def leave(self) -> None:
        """Neither step aside nor in any more: the worker leaves."""
        self._state = _State.LEAVING

    def _announced(self) -> None:
        if self._state is not _State.ANNOUNCED:
            return
        if self._peers.takers():
            self._state = _State.ASIDE
            self._take_frames(False)
        else:
            self._take_again()

    def _take_again(self) -> None:
        self._state = _State.TAKING
        self._take_frames(True)
        self._announce(lambda: None)

    def _announce(self, then: Callable[[], None]) -> None:
        self._quiet_until = self._clock() + PAUSE_SECONDS + PAUSE_SECONDS_FOR_EACH * len(self._peers)
        self._publish_status(then)

    def _others_are_faster(self) -> bool:
        return self.wait > self._longest_wait() and any(
            peer.wait_seconds < self.wait / 2 for peer in self._peers.takers()
        )

    def _longest_wait(self) -> float:
        return max(self._limit, SHORTEST_QUEUE_FRAMES * self._seconds_a_frame)
