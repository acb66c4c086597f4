"""The other workers of the group: who takes frames, and who has died and is this worker's to adopt.

There is no coordinator. Every worker hears the same retained statuses and ranks the living by a hash of
their name and the dead one's; the first adopts, the next one waits a grace time longer. Two that disagree
for a moment do no harm: the broker gives the dead one's session to the later of them.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Callable, Dict, List, Optional, Tuple

from wire.messages import AdoptionClaim, WorkerStatus
from wire.ranking import weight

log = logging.getLogger(__name__)

#: More than any fleet has. On an open broker anyone may write statuses, and of each something is kept.
MAX_PEERS = 2000
#: Seconds of silence after which nobody counts as one that takes frames, whatever lease it gave itself:
#: others would step aside for a stolen worker long after its end. This worker's own lease may be longer.
MOST_SILENCE = 60.0
#: What may be long in a status, and nobody here asks for.
_UNASKED = {"engine_why": "", "metrics": "", "assumed": (), "change": None}
#: The claims on one worker's session that are heeded; and those of one adopter, the last ones: a stolen
#: worker could fill the table with names that it makes up, and none would know what the others adopt.
MAX_CLAIMS, MAX_CLAIMS_OF_ONE = 64, 250


@dataclass(frozen=True)
class _Peer:
    status: WorkerStatus
    #: By this machine's clock: the peer's own may be wrong.
    heard: float
    #: It has spoken while this worker listened: what is retained may be of a worker that is gone.
    live: bool
    #: This broker has no session of it.
    absent: bool = False


@dataclass(frozen=True)
class _Claim:
    claim: AdoptionClaim
    #: By this machine's clock.
    heard: float
    #: The process that it means was heard of after it, so that nobody has to adopt it: anybody may claim.
    void: bool = False


class Peers:
    """What is known of the others, from what they say of themselves. All calls come from one thread."""

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
        """Args:
        own: this worker's id.
        group: its group; only with workers of that group which read the same topics it has to do.
        inputs: the templates of those topics.
        grace: seconds that a dead worker has to return; 0 to adopt nobody.
        clock: seconds.
        lease: seconds of silence after which others take this worker for dead.
        """
        self._own = own
        self._reads = (group, inputs)
        self._grace = grace
        self._clock = clock
        self._most_silence = max(MOST_SILENCE, lease)
        self._peers: Dict[str, _Peer] = {}
        #: The processes whose beacons stand at this broker, by worker.
        self._here: Dict[str, str] = {}
        #: By the dead worker, and then by its adopter.
        self._claims: Dict[str, Dict[str, _Claim]] = {}
        #: By the adopter, the dead workers on whose sessions it has claims, the last claimed last.
        self._claimed: Dict[str, List[str]] = {}

    def hear(self, status: WorkerStatus, *, retained: bool = False) -> None:
        """Take note of a status.

        Args:
            status: it.
            retained: whether it is from before this worker asked, and does not show that its sender lives.
        """
        if status.worker == self._own:
            return
        if status.state == "offline":  # its session has ended: nothing is left of it
            self._peers.pop(status.worker, None)
        elif status.worker in self._peers or len(self._peers) < MAX_PEERS:
            self._peers[status.worker] = _Peer(self._kept(status), self._clock(), live=not retained)
        if status.state != "lost" and not retained:
            self._void_claims(status)

    def _kept(self, status: WorkerStatus) -> WorkerStatus:
        own_inputs = self._reads[1]
        inputs = own_inputs if status.inputs == own_inputs else ()
        return status.model_copy(update={**_UNASKED, "inputs": inputs})

    def _void_claims(self, alive: WorkerStatus) -> None:
        claims = self._claims.get(alive.worker, {})
        for adopter, each in claims.items():
            if each.claim.instance == alive.instance:
                claims[adopter] = replace(each, void=True)

    def hear_beacon(self, worker: str, instance: str) -> None:
        """Take note of which process of a worker is at this broker."""
        if worker in self._here or len(self._here) < MAX_PEERS:
            self._here[worker] = instance

    def hear_claim(self, claim: AdoptionClaim) -> None:
        """Take note that somebody drains, or has drained, a dead worker's session."""
        if claim.dead not in self._claims and len(self._claims) >= MAX_PEERS:
            return
        claims = self._claims.setdefault(claim.dead, {})
        if claim.worker in claims or len(claims) < MAX_CLAIMS:
            claims[claim.worker] = _Claim(claim, self._clock())
            claimed = self._claimed.setdefault(claim.worker, [])
            if claim.dead in claimed:
                claimed.remove(claim.dead)
            claimed.append(claim.dead)
            if len(claimed) > MAX_CLAIMS_OF_ONE:
                self._remove_claim(claimed[0], claim.worker)

    def drop_claim(self, dead: str, worker: str) -> None:
        """A claim was taken back, by its worker or, with the dead one's status, by `workers forget`."""
        dropped, peer = self._remove_claim(dead, worker), self._peers.get(dead)
        if not dropped or dropped.void or not peer:
            return
        if (dropped.claim.state, dropped.claim.instance) == ("ended", peer.status.instance):
            self.dismiss(dead)  # what has been drained once has no session left

    def _remove_claim(self, dead: str, worker: str) -> Optional[_Claim]:
        claims = self._claims.get(dead, {})
        removed = claims.pop(worker, None)
        if removed is None:
            return None
        self._claimed[worker].remove(dead)
        if not claims:
            del self._claims[dead]
        if not self._claimed[worker]:
            del self._claimed[worker]
        return removed

    def spent_claims(self) -> List[str]:
        """The workers on whose sessions this one has a claim that means nothing any more: they are back."""
        return [
            dead
            for dead, claims in self._claims.items()
            if self._own in claims
            and dead in self._peers
            and self._peers[dead].status.state == "online"
            and (
                claims[self._own].void
                or self._peers[dead].status.instance != claims[self._own].claim.instance
            )
        ]

    def dismiss(self, worker: str) -> None:
        """Leave a dead worker that has no session on this broker to others, until it is heard again."""
        if worker in self._peers:
            self._peers[worker] = replace(self._peers[worker], absent=True)

    def forget(self) -> None:
        """The connection was lost: that nothing is heard means nothing now."""
        self._peers.clear()
        self._claims.clear()
        self._claimed.clear()
        self._here.clear()

    def orphan(self) -> Optional[WorkerStatus]:
        """The last status of a worker that this one shall adopt now, if there is one."""
        if not self._grace:
            return None
        for peer in self._peers.values():
            if peer.absent or not self._reads_the_same(peer):
                continue
            due = self._grace * (1 + self._rank(peer))
            if self._overdue(peer) >= due and not self._is_claimed(peer, due):
                return peer.status
        return None

    def _is_claimed(self, dead: _Peer, due: float) -> bool:
        """Whether another has drained its session, or has said within `due` seconds that it does."""
        claims = self._claims_on(dead)
        return any(each.claim.state == "ended" or self._clock() - each.heard < due for each in claims)

    def _claims_on(self, peer: _Peer) -> List[_Claim]:
        """The claims on the session of this very process."""
        claims = self._claims.get(peer.status.worker, {}).values()
        return [each for each in claims if each.claim.instance == peer.status.instance and not each.void]

    def __len__(self) -> int:
        return len(self._peers)

    def takers(self) -> List[WorkerStatus]:
        """The others that take frames from the same shared subscriptions now, and have been heard live."""
        now = self._clock()
        return [
            peer.status
            for peer in self._living()
            if peer.status.takes_frames and peer.live and now - peer.heard < self._most_silence
        ]

    def aside(self) -> List[WorkerStatus]:
        """The others that have stepped aside from them."""
        return [peer.status for peer in self._living() if not peer.status.takes_frames]

    def _living(self) -> List[_Peer]:
        return [
            peer
            for peer in list(self._peers.values())  # the main thread asks as well, at the end
            if self._reads_the_same(peer)
            and peer.status.state == "online"
            and self._overdue(peer) < 0
            # Those of another broker, whose statuses come over a bridge, take none of this one's frames.
            and self._here.get(peer.status.worker) == peer.status.instance
            # A worker that died with its broker has left no will: its last status still says online.
            and not any(each.claim.state == "ended" for each in self._claims_on(peer))
        ]

    def _reads_the_same(self, peer: _Peer) -> bool:
        return (peer.status.group, peer.status.inputs) == self._reads

    def _overdue(self, peer: _Peer) -> float:
        """Seconds since it died, by what is known; below 0 while it lives."""
        silence = self._clock() - peer.heard
        # Without a will, as after a broker that was killed with it, only the silence tells.
        return silence if peer.status.state == "lost" else silence - peer.status.lease_seconds

    def _rank(self, dead: _Peer) -> int:
        """How many of the living come before this worker."""
        name = dead.status.worker
        own = weight(self._own, name)
        return sum(weight(other.status.worker, name) > own for other in self._living())
