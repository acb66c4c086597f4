"""What the publisher can be told."""

from __future__ import annotations

import sys
from typing import List, Optional

from pydantic import Field, field_validator

from wire.broker import BrokerSettings
from wire.settings import POSITIONAL, Names
from wire.topics import is_id


class PublishSettings(BrokerSettings):
    """Send images to a broker as frames of one or several cameras, and show the answers.

    nanofleet publish cat.jpg
    nanofleet publish photos/ 'more/*.png' --camera door,garden --fps 5 --loop
    ffmpeg … -f image2pipe -frames 1 - | nanofleet publish - --camera door

    The exit code is 0 only if every frame was answered (with --no-wait: if the broker had somebody to
    give each to).
    """

    sources: List[str] = Field(
        description="Files, folders (with all below them), globs in quotes; - reads one image from stdin",
        json_schema_extra=POSITIONAL,
    )
    camera: Names = Field(["camera"], description="Cameras to send as, in turn: --camera door,garden")
    fps: Optional[float] = Field(
        None, gt=0, description="Frames a second, all cameras together (default: all speed)"
    )
    loop: bool = Field(False, description="Begin again after the last image, until Ctrl-C")
    wait: bool = Field(
        default_factory=lambda: sys.stdout.isatty(),
        description="Wait for the answers and show them; on a terminal this is the default",
    )
    timeout: float = Field(30.0, gt=0, description="Seconds without an answer after which a frame is missing")
    window: int = Field(
        64,
        ge=1,
        le=65535,
        description="Frames sent ahead of their answers, at most; a broker's queue is finite",
    )
    max_side: Optional[int] = Field(
        None, ge=16, description="Shrink images to this many pixels a side, as JPEG (needs nanofleet[camera])"
    )

    @field_validator("camera")
    @classmethod
    def _cameras_are_ids(cls, cameras: List[str]) -> List[str]:
        wrong = [camera for camera in cameras if not is_id(camera)]
        if wrong or not cameras:
            raise ValueError(
                f"a camera is 1 to 64 letters, digits, - and _, not {', '.join(wrong) or 'nothing'}"
            )
        return cameras
