"""Where what the connection brings goes: frames to work, statuses and commands to those who follow them.

receive ──> frame ──> Pipeline          of no camera, retained, or too many at QoS 0 ──> ignored (counted)
       ├──> status, claim, beacon ──> Presence
       └──> model command ──> Commands
"""

from __future__ import annotations

import logging
from typing import Optional, Tuple

from wire.mqtt.packets import Delivery
from worker.delivery.unacked import Unacked
from worker.membership.pacing import Pacing
from worker.membership.presence import Presence
from worker.metrics import Metrics
from worker.pipeline import Pipeline
from worker.serving.commands import Commands
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)


class Reception:
    """Tells deliveries apart. All calls come from the network thread."""

    def __init__(
        self,
        settings: WorkerSettings,
        pipeline: Pipeline,
        presence: Presence,
        commands: Commands,
        pacing: Pacing,
        metrics: Metrics,
    ) -> None:
        """Args:
        settings: the worker's.
        pipeline: gets the frames.
        presence: hears the statuses.
        commands: hears the model commands.
        pacing: hears that others may have changed their pace.
        metrics: hears of what is ignored.
        """
        self._topics = settings.topics
        self._camera_of = settings.camera_of
        #: Of what needs no ack nothing more is taken while so many wait for the PUBACKs of their answers.
        self._most_unacked = 8 * settings.window
        self._ignores_retained = settings.retained == "ignore"
        self._told_of_retained: Optional[Tuple[Unacked, int]] = None
        self._pipeline = pipeline
        self._presence = presence
        self._commands = commands
        self._pacing = pacing
        self._metrics = metrics

    def receive(self, delivery: Delivery, unacked: Unacked) -> None:
        """Take in what a session has delivered.

        Args:
            delivery: it.
            unacked: the session's frames in hand.

        Raises:
            DuplicateMember: it says that another worker has started under this id, later.
        """
        camera = self._camera_of(delivery.topic)
        old = delivery.retain and camera is not None and self._ignores_retained
        if delivery.qos == 0 and (camera is None or old or self._full(unacked)):
            # Nothing to ack, and nothing that holds the sender back: a flood of frames is cut off here.
            self._receive_other(delivery, unacked)
            return
        if camera is not None and not old:
            self._pipeline.receive(delivery, camera, unacked)
            return
        if unacked.pass_over(delivery):
            self._receive_other(delivery, unacked)

    def _full(self, unacked: Unacked) -> bool:
        return self._pipeline.full or len(unacked) > self._most_unacked

    def _receive_other(self, delivery: Delivery, unacked: Unacked) -> None:
        if delivery.topic.startswith((self._topics.worker(""), self._topics.beacon(""))):
            self._presence.hear(delivery)
            self._pacing.check()
        elif delivery.topic in self._commands.topics:
            self._commands.receive(delivery.topic, delivery.payload)
        else:
            self._ignore(delivery, unacked)

    def _ignore(self, delivery: Delivery, unacked: Unacked) -> None:
        if not self._camera_of(delivery.topic):
            self._metrics.ignored.labels("no_camera").inc()
            log.warning("ignored a frame on %r: that is no camera id ([A-Za-z0-9_-]{1,64})", delivery.topic)
        elif delivery.retain and self._ignores_retained:
            self._metrics.ignored.labels("retained").inc()
            if self._told_of_retained != (unacked, delivery.epoch):  # once for each connection
                self._told_of_retained = (unacked, delivery.epoch)
                log.info(
                    "ignored a retained frame on %r, and so will others be: they are old (see --retained)",
                    delivery.topic,
                )
        else:
            self._metrics.ignored.labels("qos0_flood").inc()
            log.warning("ignored a frame on %r: too many at QoS 0; publish at QoS 1", delivery.topic)
