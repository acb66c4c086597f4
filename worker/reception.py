"""Where what the connection brings goes: frames to work, statuses and commands to those who follow them.

receive ──> frame ──> Inbox.admit ──> Admission      of no camera, retained, or too many at QoS 0 ──> ignored
       └──> status ──> Presence       └──> model command ──> Control                                 (counted)
"""

from __future__ import annotations

import logging
from typing import Callable, Optional, Tuple

from wire.mqtt.packets import Delivery
from wire.topics import is_id
from worker.delivery.scheduler import Admission
from worker.delivery.unacked import Inbox
from worker.errors import FrameError
from worker.frame import Frame
from worker.membership.status import Presence
from worker.membership.step_aside import Pacing
from worker.metrics import Metrics
from worker.serving.commands import Control
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)


class Reception:
    """Tells deliveries apart. All calls come from the network thread."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        admission: Admission,
        presence: Presence,
        control: Control,
        pacing: Pacing,
        metrics: Metrics,
        reject: Callable[[Frame, FrameError], None],
    ) -> None:
        """Args:
        settings: the worker's.
        admission: gets the frames.
        presence: hears the statuses.
        control: hears the model commands.
        pacing: hears that a frame has come, and that others may have changed their pace.
        metrics: hears of what is ignored.
        reject: answers a frame that admission refuses.
        """
        self._topics = settings.topics
        self._templates = settings.templates
        #: Of what needs no ack nothing more is taken while so many wait for the PUBACKs of their answers.
        self._most_unacked = 8 * settings.window
        self._ignores_retained = settings.retained == "ignore"
        self._told_of_retained: Optional[Tuple[Inbox, int]] = None
        self._admission = admission
        self._presence = presence
        self._control = control
        self._pacing = pacing
        self._metrics = metrics
        self._reject = reject

    def receive(self, delivery: Delivery, inbox: Inbox) -> None:
        """Take in what a session has delivered.

        Args:
            delivery: it.
            inbox: the session's frames in hand.

        Raises:
            DuplicateMember: it says that another worker has started under this id, later.
        """
        camera = self.camera(delivery.topic)
        old = delivery.retain and camera is not None and self._ignores_retained
        if delivery.qos == 0 and (camera is None or old or self._full(inbox)):
            # Nothing to ack, and nothing that holds the sender back: a flood of frames is cut off here.
            self._receive_other(delivery, inbox)
            return
        frame = Frame.receive(delivery, camera or "")
        if not inbox.admit(frame):
            return
        if camera is None or old:
            inbox.settle(frame)  # its ack, too, has to wait for those before it
            self._receive_other(delivery, inbox)
            return
        self._pacing.received()
        try:
            self._admission.submit(frame)
        except FrameError as error:
            self._reject(frame, error)

    def _full(self, inbox: Inbox) -> bool:
        return self._admission.full or len(inbox) > self._most_unacked

    def camera(self, topic: str) -> Optional[str]:
        """Whose frames come on a topic; None if it is no frames topic, or names no valid camera."""
        matches = (template.match(topic) for template in self._templates)
        cameras = [match["camera"] for match in matches if match]
        return cameras[0] if cameras and is_id(cameras[0]) else None

    def _receive_other(self, delivery: Delivery, inbox: Inbox) -> None:
        if delivery.topic.startswith((self._topics.worker(""), self._topics.beacon(""))):
            self._presence.hear(delivery)
            self._pacing.check()
        elif delivery.topic in self._control.topics:
            self._control.receive(delivery.topic, delivery.payload)
        else:
            self._ignore(delivery, inbox)

    def _ignore(self, delivery: Delivery, inbox: Inbox) -> None:
        if not self.camera(delivery.topic):
            self._metrics.ignored.labels("no_camera").inc()
            log.warning("ignored a frame on %r: that is no camera id ([A-Za-z0-9_-]{1,64})", delivery.topic)
        elif delivery.retain and self._ignores_retained:
            self._metrics.ignored.labels("retained").inc()
            if self._told_of_retained != (inbox, delivery.epoch):  # once for each connection
                self._told_of_retained = (inbox, delivery.epoch)
                log.info(
                    "ignored a retained frame on %r, and so will others be: they are old (see --retained)",
                    delivery.topic,
                )
        else:
            self._metrics.ignored.labels("qos0_flood").inc()
            log.warning("ignored a frame on %r: too many at QoS 0; publish at QoS 1", delivery.topic)
