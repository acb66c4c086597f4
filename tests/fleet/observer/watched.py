"""Cameras as an observer keeps them, and a time that passes when it is told to."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, List, Mapping, Optional

from fleet.observer.cameras import Cameras
from tests.fleet.members import result
from wire.camera_settings import CameraBook
from wire.cameras import CameraEvent, CameraSettings, CameraState

NOON = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


class Fleet:
    """Cameras, and a time that passes when it is told to; the clock and the time of day are two things."""

    def __init__(self, silent_after: float = 300.0, **file: CameraSettings) -> None:
        self.seconds = 1000.0
        self.day = NOON
        self.sent = 0
        self.cameras = self.observer(silent_after, file)

    def observer(self, silent_after: float = 300.0, file: Optional[Mapping[str, Any]] = None) -> Cameras:
        book = CameraBook(file or {})
        return Cameras(book, silent_after, clock=lambda: self.seconds, now=lambda: self.day)

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.day += timedelta(seconds=seconds)

    def answer(self, label: str = "cat", confidence: float = 0.9, **facts: Any) -> Optional[CameraEvent]:
        self.sent += 1
        usual = {"frame_id": str(self.sent), "answered_at": self.day, "received_at": self.day}
        return self.cameras.receive(result("door", label, confidence, **{**usual, **facts}))

    def state(self, camera: str = "door") -> CameraState:
        (state,) = [state for state in self.cameras.states() if state.camera == camera]
        return state

    def published(self) -> List[CameraState]:
        return self.cameras.all_due()
