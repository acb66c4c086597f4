"""The other workers of the group: who takes frames, and who has died and is this worker's to adopt.

There is no coordinator. Every worker receives the same retained statuses and ranks the living by a hash of
their name and the dead one's; the first adopts, the next one waits a grace time longer. Two that disagree
for a moment do no harm: the broker gives the dead worker's session to the later of them.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Callable, Dict, List, Optional, Tuple

from wire.messages import AdoptionClaim, WorkerStatus
from wire.ranking import weight
from worker.membership.claims import Claim, Claims

log = logging.getLogger(__name__)

#: More than any fleet has. On an open broker anyone may write statuses, and of each something is kept.
MAX_PEERS = 2000
#: Seconds of silence after which no worker counts as one that takes frames, whatever lease it gave itself:
#: others would step aside for a stolen worker long after its end. This worker's own lease may be longer.
MOST_SILENCE_SECONDS = 60.0
#: What may be long in a status, and is not read here.
_UNREAD = {"engine_why": "", "metrics": "", "assumed": (), "change": None}


@dataclass(frozen=True)
class _Peer:
    """Another worker, by its last status."""

    status: WorkerStatus
    #: When that came, by this machine's clock: the peer's own may be wrong.
    received: float
    #: Whether it was not retained: a retained one may be of a worker that is gone.
    live: bool
    #: Whether this broker has no session of that worker.
    session_absent: bool = False


class Peers:
    """What is known of the others, by their own messages. All calls come from one thread."""

    def __init__(
        self,
        own: str,
        group: str,
        inputs: Tuple[str, ...],
        grace: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        lease: float = 0.0,
    ) -> None:
        """Begin without any peer.

        Args:
            own: this worker's id.
            group: its group; it has to do only with workers of that group which read the same topics.
            inputs: the templates of those topics.
            grace: seconds that a dead worker has to return; 0 to adopt none.
            clock: seconds.
            lease: seconds of silence after which others take this worker for dead.
        """
        self._own = own
        self._reads = (group, inputs)
        self._grace = grace
        self._clock = clock
        self._lease = lease
        self._ticked = clock()
        self._most_silence = max(MOST_SILENCE_SECONDS, lease)
        self._peers: Dict[str, _Peer] = {}
        #: The processes whose beacons stand at this broker, by worker.
        self._here: Dict[str, str] = {}
        self._claims = Claims(clock, most=MAX_PEERS)

    def receive(self, status: WorkerStatus, *, retained: bool = False) -> None:
        """Take note of a status.

        Args:
            status: another worker's, or this one's own, which is passed over.
            retained: whether it is from before this worker subscribed, and no sign that its sender lives.
        """
        if status.worker == self._own:
            return
        if status.state == "offline":  # its session has ended: nothing is left of it
            self._peers.pop(status.worker, None)
        elif status.worker in self._peers or len(self._peers) < MAX_PEERS:
            self._peers[status.worker] = _Peer(self._kept(status), self._clock(), live=not retained)
        if status.state != "lost" and not retained:
            self._claims.void(status)

    def _kept(self, status: WorkerStatus) -> WorkerStatus:
        own_inputs = self._reads[1]
        inputs = own_inputs if status.inputs == own_inputs else ()
        return status.model_copy(update={**_UNREAD, "inputs": inputs})

    def receive_beacon(self, worker: str, instance: str) -> None:
        """Take note of which process of a worker is at this broker."""
        if worker in self._here or len(self._here) < MAX_PEERS:
            self._here[worker] = instance

    def receive_claim(self, claim: AdoptionClaim) -> None:
        """Take note that a worker drains, or has drained, a dead one's session."""
        self._claims.receive(claim)

    def drop_claim(self, dead: str, worker: str) -> None:
        """Take note that a claim was removed: by its worker or, with the status, by `workers forget`."""
        dropped, peer = self._claims.remove(dead, worker), self._peers.get(dead)
        if dropped and peer and dropped.has_ended and dropped.is_on(peer.status) and not dropped.void:
            self.dismiss(dead)  # what has been drained once has no session left

    def spent_claims(self) -> List[str]:
        """The workers that are back, so that this one's claims on their sessions mean nothing any more."""
        return [each.claim.dead for each in self._claims.by(self._own) if self._is_spent(each)]

    def _is_spent(self, own: Claim) -> bool:
        peer = self._peers.get(own.claim.dead)
        if peer is None or peer.status.state != "online":
            return False
        return own.void or not own.is_on(peer.status)

    def dismiss(self, worker: str) -> None:
        """Leave a dead worker that has no session on this broker to others, until its next status."""
        if worker in self._peers:
            self._peers[worker] = replace(self._peers[worker], session_absent=True)

    def forget(self) -> None:
        """Forget all: the connection was lost, and that no status comes means nothing now."""
        self._peers.clear()
        self._claims.clear()
        self._here.clear()

    def tick(self) -> None:
        """Look at the clock, with every status.

        A worker that has not done so for its own lease, because it was stopped, cannot tell who was silent:
        `docker pause` or `systemctl freeze` may have stopped all, and each would adopt the others.
        """
        ticked, self._ticked = self._ticked, self._clock()
        if self._ticked - ticked > self._lease:
            for worker, peer in self._peers.items():
                self._peers[worker] = replace(peer, received=self._ticked)

    def abandoned(self) -> Optional[WorkerStatus]:
        """The last status of a dead worker whose session this one is to adopt now, if there is one."""
        if not self._grace:
            return None
        for peer in self._peers.values():
            if peer.session_absent or not self._reads_the_same(peer):
                continue
            due = self._grace * (1 + self._rank(peer))
            if self._overdue(peer) >= due and not self._is_claimed(peer, due):
                return peer.status
        return None

    def _is_claimed(self, dead: _Peer, due: float) -> bool:
        """Whether another has drained its session, or has claimed within `due` seconds that it does."""
        claims = self._claims.on(dead.status)
        return any(each.has_ended or self._clock() - each.received < due for each in claims)

    def __len__(self) -> int:
        return len(self._peers)

    def takers(self) -> List[WorkerStatus]:
        """The others that take frames from the same shared subscriptions now, by statuses that came live."""
        now = self._clock()
        return [
            peer.status
            for peer in self._living()
            if peer.status.takes_frames and peer.live and now - peer.received < self._most_silence
        ]

    def aside(self) -> List[WorkerStatus]:
        """The others that have stepped aside from those subscriptions."""
        return [peer.status for peer in self._living() if not peer.status.takes_frames]

    def _living(self) -> List[_Peer]:
        return [
            peer
            for peer in list(self._peers.values())  # the main thread looks as well, at the end
            if self._reads_the_same(peer)
            and peer.status.state == "online"
            and self._overdue(peer) < 0
            # Those of another broker, whose statuses come over a bridge, take none of this one's frames.
            and self._here.get(peer.status.worker) == peer.status.instance
            # A worker that died with its broker has left no will: its last status still says online.
            and not any(each.has_ended for each in self._claims.on(peer.status))
        ]

    def _reads_the_same(self, peer: _Peer) -> bool:
        return (peer.status.group, peer.status.inputs) == self._reads

    def _overdue(self, peer: _Peer) -> float:
        """Seconds since a peer died, by what is known; below 0 while it lives."""
        silence = self._clock() - peer.received
        # Without a will, as after a broker that was killed with it, only the silence shows it.
        return silence if peer.status.state == "lost" else silence - peer.status.lease_seconds

    def _rank(self, dead: _Peer) -> int:
        """How many of the living come before this worker."""
        name = dead.status.worker
        own = weight(self._own, name)
        return sum(weight(other.status.worker, name) > own for other in self._living())
