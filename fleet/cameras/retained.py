"""What the broker retains of cameras, as an operator's command reads it."""

from __future__ import annotations

import logging
from typing import Dict, Optional, Sequence, Type, TypeVar

from fleet.cameras.settings import CamerasSettings
from fleet.workers.watch import Fleet
from wire.cameras import CameraSettings, CameraState
from wire.errors import DecodeError
from wire.messages import Message

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)


def open_fleet(settings: CamerasSettings, camera: str = "+", others: Sequence[str] = ()) -> Fleet:
    """A connection that reads what is retained of one camera, or of all: a context manager.

    Args:
        settings: where.
        camera: which.
        others: further topics to read.
    """
    topics = settings.topics
    also = [topics.camera(camera), topics.camera_settings(camera), topics.snapshot(camera), *others]
    return Fleet(settings.open_broker(), topics, timeout=settings.timeout, also=also)


def states(fleet: Fleet) -> Dict[str, CameraState]:
    """The states that can be read, by camera."""
    prefix = fleet.topics.camera("")
    found = {}
    for topic in sorted(fleet.also):
        state = _read(fleet, topic, CameraState) if topic.startswith(prefix) else None
        if state is not None and state.camera == topic[len(prefix) :]:
            found[state.camera] = state
    return found


def settings_of(fleet: Fleet, camera: str) -> Optional[CameraSettings]:
    """A camera's settings; None where there are none, or none that can be read."""
    return _read(fleet, fleet.topics.camera_settings(camera), CameraSettings)


def _read(fleet: Fleet, topic: str, kind: Type[M]) -> Optional[M]:
    payload = fleet.also.get(topic)
    if payload is None:
        return None
    try:
        return kind.decode(payload)
    except DecodeError as error:
        log.warning("%s: %s", topic, error)
        return None
