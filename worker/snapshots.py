"""Snapshots: a camera's frame at which its label changed, small and retained, for pages and Home Assistant.

finish ──> offer ── another label, the last snapshot is old enough ──> unwrapped, shrunk ──> publish
network thread                                                         thread of its own     network thread
             heard <── the other workers' notices        this worker's notice <── PUBACK <────┘

Several workers answer frames of one camera, and nobody coordinates them: each takes what another has
published for a snapshot of its own. Two that answer within the same moment may both publish.

Nothing of it is on a frame's path: what cannot be shrunk, what the broker refuses and what is due while the
connection is lost is no snapshot, and its frame is answered and acked all the same.
"""

from __future__ import annotations

import functools
import logging
import queue
import threading
import time
from typing import Dict, List, NamedTuple, Optional, Tuple

from wire.cameras import SnapshotNotice
from wire.decoder.decoder import Closed
from wire.decoder.shrinker import Shrinker
from wire.errors import DecodeError, NanofleetError
from wire.lengths import MAX_NAME
from wire.messages import (
    CAPTURED_AT_PROPERTY,
    CONFIDENCE_PROPERTY,
    FRAME_ID_PROPERTY,
    LABEL_PROPERTY,
)
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Publication
from wire.mqtt.pubacks import REFUSED
from wire.picture.bare import is_bare
from wire.picture.kinds import find
from wire.picture.region import WHOLE, Region
from wire.printable import printable
from worker.delivery.frame import Frame
from worker.payload.reader import open_payload
from worker.serving.job import Classified, Outcome
from worker.worker import Worker

log = logging.getLogger(__name__)

#: Bytes up to which a JPEG is published as it came, if it is nothing else; others are shrunk to that, and to
#: so many pixels. All are JPEGs, because Home Assistant is told of one kind for all pictures of a camera.
MOST_BYTES, MOST_PIXELS = 1 << 16, 640
#: Seconds for which a broker keeps one; and after how many it is published again, at the same label.
EXPIRY, RENEWED_AFTER = 86_400, 43_200
#: More than any worker has; what bounds them is who may publish frames.
MOST_CAMERAS = 1000


class _Last(NamedTuple):
    """The last snapshot of a camera, by whichever worker."""

    label: str
    #: By `time.perf_counter()`.
    taken: float


class _Due(NamedTuple):
    """A frame that is to be a snapshot, and its answer; the payload that it came in is not copied."""

    frame: Frame
    label: str
    confidence: float
    #: What of the picture is published.
    region: Region


class Snapshots:
    """Publishes a camera's frame when its label changes. All calls come from the network thread.

    A context manager. Memory is bounded: what waits to be unwrapped or shrunk is together no larger than one
    frame may be.
    """

    def __init__(self, worker: Worker, connection: Connection) -> None:
        """Prepare; no decoder process starts before a picture has to be shrunk.

        Args:
            worker: whose answers they are.
            connection: where they are published.
        """
        settings = worker.settings
        self._every = settings.snapshot_every
        self._topics = settings.topics
        self._worker_id, self._cameras = worker.id, worker.cameras
        self._life = worker.life
        self._connection = connection
        self._last: Dict[str, _Last] = {}
        self._room = settings.max_payload
        self._logged_refusal = self._logged_no_process = False
        timeout, memory = settings.decoder_timeout, settings.decoder_bytes
        self._shrinker = Shrinker(MOST_PIXELS, MOST_BYTES, always=True, timeout=timeout, memory=memory)
        # None ends the thread.
        self._due: queue.SimpleQueue[Optional[_Due]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def __enter__(self) -> Snapshots:
        if self._every:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Drop what waits."""
        self._shrinker.kill()
        self._due.put(None)
        if self._every:
            self._thread.join(timeout=5)
        self._shrinker.close()

    def offer(self, frame: Frame, answer: Outcome) -> None:
        """Take an answered frame for a snapshot, if it is to be one."""
        if not self._every or not isinstance(answer, Classified):
            return
        last, label = self._last.get(frame.camera), answer.label[:MAX_NAME]
        if last is not None:
            age = frame.received_ticks - last.taken
            if age < self._every or (label == last.label and age < RENEWED_AFTER):
                return
        size = len(frame.delivery.payload)
        if answer.complete and size <= self._room:
            self._room -= size
            self._note(frame.camera, label)
            self._due.put(_Due(frame, label, answer.best[0][1], self._cameras.of(frame.camera).region))

    def heard(self, payload: bytes) -> None:
        """Take note of the snapshot that a worker has published."""
        try:
            notice = SnapshotNotice.decode(payload)
        except DecodeError as error:
            log.debug("ignored a notice of a snapshot: %s", error)
            return
        if notice.worker != self._worker_id:
            self._note(notice.camera, notice.label)

    def _note(self, camera: str, label: str) -> None:
        if camera not in self._last and len(self._last) >= MOST_CAMERAS:
            del self._last[next(iter(self._last))]
        self._last[camera] = _Last(label, time.perf_counter())

    # --- in its own thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            due = self._due.get()
            if due is None:
                return
            picture = b""
            try:
                picture = self._picture_in(due)
            except Closed:
                return
            except NanofleetError as error:  # no process can start
                if not self._logged_no_process:
                    log.warning("pictures that must be written anew make no snapshots: %s", error)
                self._logged_no_process = True
            except Exception:  # a fault of ours costs one snapshot
                log.exception("%s: no snapshot", due.frame.camera)
            self._connection.call(functools.partial(self._publish, due, picture))
            del due, picture  # which may wait long for the next ones

    def _picture_in(self, due: _Due) -> bytes:
        """The picture in a payload, by itself and small; nothing, if it cannot be made small.

        Raises:
            NanofleetError: no process can start.
            Closed: the worker leaves.
        """
        image = open_payload(due.frame.delivery.payload).image
        found = find(image)
        if due.region == WHOLE and found and found.kind == "JPEG" and len(image) - found.at <= MOST_BYTES:
            picture = image[found.at :]
            if is_bare(picture):
                return picture
        shrunk = self._shrinker.shrink(image, due.region)
        if shrunk.kept:
            log.info("%s: no snapshot: %s", due.frame.camera, shrunk.kept)
        return b"" if shrunk.kept else shrunk.content

    # --- in the network thread again ------------------------------------------------------------------

    def _publish(self, due: _Due, picture: bytes) -> None:
        self._room += len(due.frame.delivery.payload)
        if picture and self._life.online:
            # Without the frame: its payload would stay in memory until the broker has taken the snapshot.
            notice = SnapshotNotice(
                worker=self._worker_id,
                camera=due.frame.camera,
                label=due.label,
                frame_id=due.frame.frame_id,
            )
            taken = functools.partial(self._answered, notice)
            topic, about = self._topics.snapshot(due.frame.camera), _properties(due)
            self._connection.publish(
                Publication(
                    topic, picture, retain=True, user_properties=about, expiry=EXPIRY, on_puback=taken
                )
            )
        elif picture:  # the next frame may be one
            self._last.pop(due.frame.camera, None)

    def _answered(self, notice: SnapshotNotice, reason_code: int) -> None:
        """The broker has taken a snapshot, or refused it."""
        if reason_code < REFUSED:
            topic = self._topics.snapshot_notice(notice.camera)
            self._connection.publish(Publication(topic, notice.encode()))
        elif not self._logged_refusal:
            self._logged_refusal = True
            topic = self._topics.snapshot(notice.camera)
            log.warning(
                "%s refuses %s (0x%02x), and perhaps other snapshots: check its ACL for this user, or set "
                "--snapshot-every 0",
                *(self._connection.broker, topic, reason_code),
            )


def _properties(due: _Due) -> List[Tuple[str, str]]:
    """The user properties of a snapshot. Brokers drop connections over control characters in one."""
    properties = [
        (LABEL_PROPERTY, printable(due.label)),
        (CONFIDENCE_PROPERTY, f"{due.confidence:.4f}"),
        (FRAME_ID_PROPERTY, due.frame.frame_id),
    ]
    if due.frame.captured_at is not None:
        properties.append((CAPTURED_AT_PROPERTY, due.frame.captured_at.isoformat()))
    return properties
