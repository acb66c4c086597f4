"""What a worker is told to do, once and now: to drain, or to restart.

connected ──> its status is published ──> the status comes back ──> actions count
              └─ before it comes what the broker has retained or queued, which was for an earlier process
"""

from __future__ import annotations

import logging
import time
from typing import Optional

from wire.errors import DecodeError
from wire.messages import WorkerAction
from wire.mqtt.packets import Delivery
from worker.worker import Worker

log = logging.getLogger(__name__)

#: Seconds after its own status for which a broker that keeps no order may still deliver what it had queued.
LATE_SECONDS = 1.0


class Actions:
    """Follows the WorkerActions of one worker. All calls come from the network thread.

    An action that was followed again at the next start would restart the worker for ever, or keep it away.

    Attributes:
        topics: where they come; none with --ignore-control.
    """

    def __init__(self, worker: Worker) -> None:
        """Follow nothing yet."""
        settings = worker.settings
        self.topics = [] if settings.ignore_control else [settings.topics.worker_action(worker.id)]
        self._life = worker.life
        self._status = b""
        self._late_seconds = 0.0
        self._counts_from: Optional[float] = None
        self._has_logged_retained = False

    def connected(self, status: bytes, in_order: bool) -> None:
        """Begin anew with a connection.

        Args:
            status: the payload of the status that is published on it first.
            in_order: whether the broker keeps the order between subscriptions.
        """
        self._status = status
        self._late_seconds = 0.0 if in_order else LATE_SECONDS
        self._counts_from = None

    def receive_status(self, delivery: Delivery) -> None:
        """Note a status of this worker's id: the copy at QoS 1 comes behind all that was queued."""
        if self._counts_from is None and delivery.qos and delivery.payload == self._status:
            self._counts_from = time.monotonic() + self._late_seconds

    def receive(self, delivery: Delivery) -> None:
        """Do what an action says, if it is meant for this process."""
        topic = delivery.topic
        if delivery.retain:
            if not self._has_logged_retained:
                self._has_logged_retained = True
                log.warning(
                    "ignored the retained action on %s, and so it is at each start: "
                    "publish an empty retained message there",
                    topic,
                )
        elif not delivery.payload:  # a retained one was removed
            return
        elif self._counts_from is None or time.monotonic() < self._counts_from:
            log.warning("ignored an action on %s that was sent before this worker was connected", topic)
        else:
            try:
                action = WorkerAction.decode(delivery.payload).action
            except DecodeError as error:
                log.warning("%s: %s", topic, error)
                return
            self._follow(action, topic)

    def _follow(self, action: str, topic: str) -> None:
        life, restart = self._life, action == "restart"
        if restart and not life.may_restart:
            log.warning(
                "%s: no restart with --broker embedded: its broker would restart as well, and forget "
                "what it holds for others",
                topic,
            )
        elif restart and life.leaving.is_set():
            log.warning("%s: no restart: this worker leaves already", topic)
        else:
            log.info("%s: %s", topic, action)
            life.restarts = restart
            life.leaving.set()
