"""A frame in a worker's hands, from its delivery to its ack."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Tuple

from pydantic import TypeAdapter

from wire import private
from wire.errors import NanofleetError
from wire.messages import (
    CAPTURED_AT_PROPERTY,
    FRAME_ID,
    FRAME_ID_PROPERTY,
    SENT_AT_PROPERTY,
    UtcTime,
    utc_now,
)
from wire.mqtt.packets import Delivery
from worker.errors import EmptyPayload, Expired, PayloadTooLarge
from worker.payload.contents import PICTURES
from worker.payload.metadata import read_metadata
from worker.payload.reader import open_payload

if TYPE_CHECKING:
    from worker.delivery.unacked import Unacked

_is_frame_id = re.compile(FRAME_ID).fullmatch
_read_time = TypeAdapter(UtcTime).validator.validate_strings


@dataclass(eq=False)
class Frame:
    """One frame. Its id is the publisher's, or else a hash, so that a redelivered frame keeps it."""

    delivery: Delivery
    camera: str
    frame_id: str
    #: Its id before the envelope is opened: known before anything in the payload is looked at.
    delivered_id: str
    received_at: datetime = field(default_factory=utc_now)
    #: When it was captured, and when it was sent, by its sender's clock.
    captured_at: Optional[datetime] = None
    sent_at: Optional[datetime] = None
    image: bytes = b""
    #: What was assumed of what came with it, or dropped; the fields that were dropped.
    notes: Tuple[str, ...] = ()
    dropped: Tuple[str, ...] = ()
    #: `time.perf_counter()` when it came.
    received_ticks: float = field(default_factory=time.perf_counter)
    #: Seconds for which the broker may have kept it, at most; None where that is unknown.
    longest_wait: Optional[float] = None
    #: Seconds from its capture until it came, as far as that is known.
    age_received: float = 0.0
    #: Its answer is with the broker; only the ack, which goes in order, may still be due.
    settled: bool = False
    #: Where its ack belongs; set when it is admitted.
    unacked: Optional[Unacked] = None
    _spilled_to: Optional[Path] = None
    _digest: bytes = b""
    #: Camera and `delivered_id` as 16 bytes.
    key: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.key = hashlib.blake2b(f"{self.camera}/{self.delivered_id}".encode(), digest_size=16).digest()

    @classmethod
    def receive(cls, delivery: Delivery, camera: str) -> Frame:
        """A frame that has an id, and nothing else looked at yet."""
        given = delivery.user_properties.get(FRAME_ID_PROPERTY, "")
        frame_id = given if _is_frame_id(given) else _hash(camera, delivery.payload)
        return cls(delivery, camera, frame_id, delivered_id=frame_id)

    def redelivered(self, delivery: Delivery) -> None:
        """Note that the broker has delivered it again: that will be acked. The payload is the same."""
        self.delivery = delivery._replace(payload=self.delivery.payload)

    def spill(self, file: Path) -> None:
        """Spill the payload to a file while the frame waits.

        Raises:
            OSError: it cannot be written; the payload stays in memory.
        """
        digest = self.digest()
        with private.open_file(file, "wb") as opened:
            opened.write(self.delivery.payload)
        self._digest, self._spilled_to = digest, file
        self.delivery = self.delivery._replace(payload=b"")

    def unspill(self) -> None:
        """Have the payload in memory again, if it was spilled.

        Raises:
            NanofleetError: the file is gone, or cannot be read.
        """
        if self._spilled_to is not None:
            try:
                self.delivery = self.delivery._replace(payload=self._spilled_to.read_bytes())
                self._spilled_to.unlink()
            except OSError as error:
                raise NanofleetError(
                    f"{self._spilled_to}: {error.strerror or error}: a frame waited in it for its turn. "
                    "The broker still has it, with all in hand, and delivers them at the next start"
                ) from error
            self._spilled_to = None

    def digest(self) -> bytes:
        """A hash of the payload, wherever that is."""
        return self._digest or hashlib.blake2b(self.delivery.payload, digest_size=16).digest()

    def unwrap(self, max_payload: int) -> None:
        """Find the image, the frame's own id and its time of capture in the payload and its properties.

        An id or a time that cannot be used is dropped, and noted: the picture is answered without it.

        Raises:
            EmptyPayload, PayloadTooLarge, InvalidEnvelope: see `worker.errors`.
        """
        payload = self.delivery.payload
        if not payload:
            raise EmptyPayload("the payload has no bytes")
        if len(payload) > max_payload:
            raise PayloadTooLarge(f"{len(payload)} bytes, at most {max_payload} are taken")
        if payload.startswith(PICTURES) and self._is_plain():
            self.image = payload
            return
        contents = open_payload(payload)
        metadata = read_metadata(contents.metadata, self.delivery.user_properties)
        self.image = contents.image
        self.frame_id = metadata.frame_id or self.delivered_id
        self.captured_at, self.sent_at = metadata.captured_at, metadata.sent_at
        self.notes = contents.notes + metadata.notes
        self.dropped = metadata.dropped

    def _is_plain(self) -> bool:
        """Take id and times from the properties, if they are as the publisher writes them: most are."""
        properties = self.delivery.user_properties
        try:
            self.captured_at = _plain_time(properties.get(CAPTURED_AT_PROPERTY))
            self.sent_at = _plain_time(properties.get(SENT_AT_PROPERTY))
        except ValueError:  # a ValidationError is one
            return False
        return properties.get(FRAME_ID_PROPERTY, self.delivered_id) == self.delivered_id

    def age(self) -> float:
        """Seconds since its capture, or since it came if no time came with it. No clock's jump counts."""
        return self.age_received + time.perf_counter() - self.received_ticks

    def check_age(self, max_age: Optional[float]) -> None:
        """Check the frame's age against the worker's limit.

        Raises:
            Expired: it is older than `max_age` seconds.
        """
        if max_age is not None and self.age() > max_age:
            noted = f" ({'; '.join(self.notes)})" if self.notes else ""
            raise Expired(f"{self.age():.1f} s old, at most {max_age:g} s are taken{noted}")


def _plain_time(text: Optional[str]) -> Optional[datetime]:
    if text is None:
        return None
    if "T" not in text:  # RFC 3339 has one; pydantic would also take a number, of whatever unit
        raise ValueError
    moment: datetime = _read_time(text)  # type: ignore[arg-type]
    return moment


def _hash(camera: str, payload: bytes) -> str:
    return hashlib.blake2b(payload, digest_size=16, key=camera.encode()).hexdigest()
