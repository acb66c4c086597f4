"""Which dead worker this one adopts next, one at a time, and whether an adoption runs.

tick ──> Peers.abandoned() ──> Adoption, in a thread of its own ── no such session here ──> Peers.dismiss()
"""

from __future__ import annotations

from typing import Callable, Optional

from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery
from worker.delivery.unacked import Unacked
from worker.membership.adoption import Adoption
from worker.membership.peers import Peers
from worker.worker import Worker


class Adoptions:
    """The present adoption, if there is one.

    Any thread may read the properties; the network thread calls `tick`, the main thread `join`.
    """

    def __init__(self, worker: Worker, peers: Peers) -> None:
        """Begin without an adoption.

        Args:
            worker: this worker.
            peers: the others, dead ones among them.
        """
        self._worker = worker
        self._peers = peers
        self._adoption: Optional[Adoption] = None
        worker.metrics.membership.adopting.set_function(lambda: float(self.is_adopting))

    @property
    def is_adopting(self) -> bool:
        """Whether a session is being drained."""
        adoption = self._adoption  # the network thread may replace it meanwhile
        return adoption is not None and not adoption.ended

    @property
    def in_hand(self) -> int:
        """Frames of adopted sessions that are received and not yet acked."""
        adoption = self._adoption
        return len(adoption.unacked) if adoption else 0

    def tick(self, connection: Connection, receive: Callable[[Delivery, Unacked], None]) -> None:
        """Adopt the next abandoned session, if there is one and the last adoption is over.

        A worker that leaves adopts none: this may have been posted before `join`, and run after it.

        Args:
            connection: this worker's own.
            receive: takes the adopted frames in.
        """
        if self.is_adopting or self._worker.life.leaving.is_set():
            return
        if self._adoption is not None and self._adoption.session_absent:
            self._peers.dismiss(self._adoption.dead.worker)
        self._adoption = None
        dead = self._peers.abandoned()
        if dead is not None:
            adoption = Adoption(dead, self._worker, connection, receive)
            adoption.start()
            self._adoption = adoption  # only now: the main thread joins what it finds

    def join(self) -> None:
        """Wait for the end of the present adoption, once this worker is to leave: another will adopt."""
        adoption = self._adoption
        if adoption is not None:
            adoption.join()
