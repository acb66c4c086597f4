"""The claims on dead workers' sessions: which workers drain them, or have drained them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Dict, List, Optional

from wire.messages import AdoptionClaim, WorkerStatus

#: The claims on one worker's session that are kept; and those of one adopter, the last ones: a stolen
#: worker could fill the table with names that it makes up, and no worker would know what the others adopt.
MAX_CLAIMS, MAX_CLAIMS_OF_ONE = 64, 250


@dataclass(frozen=True)
class Claim:
    """An adopter's claim on the session of one process of a dead worker.

    Attributes:
        received: when it came, by this machine's clock.
        void: whether that process has published a status since, so that no worker has to adopt it: anyone may
            claim.
    """

    claim: AdoptionClaim
    received: float
    void: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether the session was drained, and is gone."""
        return self.claim.state == "ended"

    def is_on(self, process: WorkerStatus) -> bool:
        """Whether it means the very process that has published a status."""
        return self.claim.instance == process.instance


class Claims:
    """The claims that stand, in bounded memory."""

    def __init__(self, clock: Callable[[], float], most: int) -> None:
        """Begin without a claim.

        Args:
            clock: seconds.
            most: dead workers on whose sessions claims are kept.
        """
        self._clock = clock
        self._most = most
        #: By the dead worker, and then by its adopter.
        self._claims: Dict[str, Dict[str, Claim]] = {}
        #: By the adopter, the dead workers on whose sessions it has claims, the last claimed last.
        self._claimed: Dict[str, List[str]] = {}

    def receive(self, claim: AdoptionClaim) -> None:
        """Take note that a worker drains, or has drained, a dead one's session."""
        if claim.dead not in self._claims and len(self._claims) >= self._most:
            return
        claims = self._claims.setdefault(claim.dead, {})
        if claim.worker in claims or len(claims) < MAX_CLAIMS:
            claims[claim.worker] = Claim(claim, self._clock())
            claimed = self._claimed.setdefault(claim.worker, [])
            if claim.dead in claimed:
                claimed.remove(claim.dead)
            claimed.append(claim.dead)
            if len(claimed) > MAX_CLAIMS_OF_ONE:
                self.remove(claimed[0], claim.worker)

    def remove(self, dead: str, adopter: str) -> Optional[Claim]:
        """Forget a claim; returns it, if there was one."""
        claims = self._claims.get(dead, {})
        removed = claims.pop(adopter, None)
        if removed is None:
            return None
        self._claimed[adopter].remove(dead)
        if not claims:
            del self._claims[dead]
        if not self._claimed[adopter]:
            del self._claimed[adopter]
        return removed

    def void(self, alive: WorkerStatus) -> None:
        """Void the claims on a process that lives, as its status shows."""
        claims = self._claims.get(alive.worker, {})
        for adopter, each in claims.items():
            if each.is_on(alive):
                claims[adopter] = replace(each, void=True)

    def on(self, process: WorkerStatus) -> List[Claim]:
        """The claims on the session of this very process that are not void."""
        claims = self._claims.get(process.worker, {}).values()
        return [each for each in claims if each.is_on(process) and not each.void]

    def by(self, adopter: str) -> List[Claim]:
        """The claims of one adopter."""
        return [self._claims[dead][adopter] for dead in self._claimed.get(adopter, [])]

    def clear(self) -> None:
        """Forget all."""
        self._claims.clear()
        self._claimed.clear()
