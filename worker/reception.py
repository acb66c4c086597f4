"""Where deliveries go: frames to the pipeline, all others to what follows them.

receive ──> frame ──> Pipeline          of no camera, retained, or too many at QoS 0 ──> ignored (counted)
       ├──> status, claim, beacon ──> Presence
       ├──> model command ──> Commands
       ├──> action ──> Actions
       ├──> a camera's settings ──> Cameras
       └──> another worker's snapshot, by its notice ──> Snapshots
"""

from __future__ import annotations

import logging
import time
from typing import Optional, Tuple

from wire.mqtt.packets import Delivery
from worker.delivery.unacked import Unacked
from worker.membership.actions import Actions
from worker.membership.pacing import Pacing
from worker.membership.presence import Presence
from worker.pipeline import Pipeline
from worker.worker import Worker

log = logging.getLogger(__name__)

#: Seconds after its own first status until a new session has received what is retained: rumqttd keeps no
#: order between subscriptions.
ALL_RECEIVED_SECONDS = 1.0


class Reception:
    """Sorts deliveries. All calls come from the network thread."""

    def __init__(
        self, worker: Worker, pipeline: Pipeline, presence: Presence, pacing: Pacing, actions: Actions
    ) -> None:
        """Prepare for deliveries, of a session that was kept until `connected` is called.

        Args:
            worker: whose model commands they are, and whose metrics count what is ignored.
            pipeline: gets the frames.
            presence: gets the statuses, claims and beacons.
            pacing: looks again after each of those, because other workers may have become faster or slower.
            actions: gets what this worker is told to do, and its own status.
        """
        settings = worker.settings
        self._topics = settings.topics
        self._camera_of = settings.camera_of
        #: Of what needs no ack nothing more is taken while so many wait for the PUBACKs of their answers.
        self._most_unacked = 8 * settings.receive_maximum
        self._ignores_retained = settings.retained == "ignore"
        self._logged_retained: Optional[Tuple[Unacked, int]] = None
        #: Whether the session began with this worker; and when it has then received its own status.
        self._is_new = False
        self._echoed_at: Optional[float] = None
        self._pipeline = pipeline
        self._presence = presence
        self._actions = actions
        self._commands = worker.commands
        self._cameras = worker.cameras
        self._pacing = pacing
        self._ignored = worker.metrics.frames.ignored

    def connected(self, session_present: bool) -> None:
        """Note whether the session is new. One that was kept delivers what was taken back meanwhile."""
        self._is_new = not session_present
        if self._is_new:
            self._echoed_at = None
            self._cameras.session_began()

    def check_commands(self) -> None:
        """Take back what is not retained any more, once a new session has received all that is."""
        if self._echoed_at is not None and time.monotonic() - self._echoed_at > ALL_RECEIVED_SECONDS:
            self._commands.all_received()
            self._cameras.all_received()

    def receive(self, delivery: Delivery, unacked: Unacked) -> None:
        """Take in what a session has delivered.

        Args:
            delivery: any message.
            unacked: the session's frames in hand.

        Raises:
            DuplicateMember: another worker has started under this id, later.
        """
        camera = self._camera_of(delivery.topic)
        ignored_retained = delivery.retain and camera is not None and self._ignores_retained
        if delivery.qos == 0 and (camera is None or ignored_retained or self._full(unacked)):
            # Nothing to ack, and nothing that holds the sender back: a flood of frames is cut off here.
            self._receive_other(delivery, unacked)
            return
        if camera is not None and not ignored_retained:
            self._pipeline.receive(delivery, camera, unacked)
            return
        if unacked.pass_over(delivery):
            self._receive_other(delivery, unacked)

    def _full(self, unacked: Unacked) -> bool:
        return self._pipeline.full or len(unacked) > self._most_unacked

    def _receive_other(self, delivery: Delivery, unacked: Unacked) -> None:
        if delivery.topic.startswith((self._topics.worker(""), self._topics.beacon(""))):
            if delivery.topic == self._presence.topic and not delivery.retain and self._is_new:
                # It comes after what was retained when this worker subscribed.
                self._echoed_at = self._echoed_at or time.monotonic()
            if delivery.topic == self._presence.topic:
                self._actions.receive_status(delivery)
            self._presence.receive(delivery)
            self._pacing.check()
        elif delivery.topic in self._commands.topics:
            self._commands.receive(delivery.topic, delivery.payload)
        elif delivery.topic in self._actions.topics:
            self._actions.receive(delivery)
        elif delivery.topic.startswith(self._topics.camera_settings("")):
            self._cameras.receive(delivery.topic[len(self._topics.camera_settings("")) :], delivery.payload)
        elif delivery.topic.startswith(self._topics.snapshot("")):
            self._pipeline.snapshots.heard(delivery.payload)
        else:
            self._ignore(delivery, unacked)

    def _ignore(self, delivery: Delivery, unacked: Unacked) -> None:
        if not self._camera_of(delivery.topic):
            self._ignored.labels("no_camera").inc()
            log.warning("ignored a frame on %r: that is no camera id ([A-Za-z0-9_-]{1,64})", delivery.topic)
        elif delivery.retain and self._ignores_retained:
            self._ignored.labels("retained").inc()
            if self._logged_retained != (unacked, delivery.epoch):  # once for each connection
                self._logged_retained = (unacked, delivery.epoch)
                log.info(
                    "ignored a retained frame on %r, and so will others be: they are old (see --retained)",
                    delivery.topic,
                )
        else:
            self._ignored.labels("qos0_flood").inc()
            log.warning("ignored a frame on %r: too many at QoS 0; publish at QoS 1", delivery.topic)
