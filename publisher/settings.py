"""Settings of `nanofleet publish`."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from typing import List, Optional

from pydantic import Field, field_validator, model_validator
from typing_extensions import Literal

from wire.broker import BrokerSettings
from wire.settings import POSITIONAL, Names, default_state_dir
from wire.topics import CAMERA_RULE, camera_ids


class SpoolSettings(BrokerSettings):
    """Where the frames of a fleet are kept that have no answer."""

    spool_dir: Path = Field(
        default_factory=lambda: default_state_dir() / "spool", description="Where the spool is"
    )

    @property
    def spool_folder(self) -> Path:
        """The spools for this broker and root: a frame must not go to another fleet."""
        fleet = f"{self.find_broker()}-{self.root}"
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", fleet)  # as it is of others: site_1 and site-1
        return self.spool_dir / f"{readable}-{hashlib.blake2b(fleet.encode(), digest_size=4).hexdigest()}"


class PublishSettings(SpoolSettings):
    """Send images to a broker as frames of one or several cameras, and show the answers.

    nanofleet publish cat.jpg
    nanofleet publish photos/ 'more/*.png' --camera door,garden --fps 5 --loop
    ffmpeg … -f image2pipe -frames 1 - | nanofleet publish - --camera door

    A frame stays in the spool until its answer has come. What an earlier run left there is sent again, after
    --resend-after (half of --timeout, at most) where its answer may be waiting with the broker. The
    exit code is 0 only if every frame was answered (with --no-spool --no-wait: if the broker had somebody to
    give each to). A file that cannot be sent is named, and the others go on. What the broker refuses for good
    is set aside: see `nanofleet spool list`.
    """

    sources: List[str] = Field(
        description="Files, folders (with all images below them, whatever their names), globs in quotes; "
        "- reads one image from stdin",
        json_schema_extra=POSITIONAL,
    )
    camera: Names = Field(["camera"], description="Cameras to send as, in turn: --camera door,garden")
    fps: Optional[float] = Field(
        None, gt=0, description="Frames a second, all cameras together (default: all speed)"
    )
    loop: bool = Field(False, description="Begin again after the last image, until Ctrl-C")
    spool: bool = Field(
        True,
        description="Keep each frame on disk until its answer, and send it again if none comes. "
        "--no-spool is for live cameras, whose newest frame is worth more than every frame",
    )
    spool_size: int = Field(1_000_000_000, ge=1, description="Bytes of frames in the spool, at most")
    spool_policy: Literal["refuse", "drop-oldest"] = Field(
        "refuse",
        description="A spool that is full takes no frame until there is room, or gives up its oldest",
    )
    resend_after: float = Field(
        15.0, gt=0, description="Seconds without its answer after which a frame is sent again, at first"
    )
    wait: bool = Field(
        default_factory=lambda: sys.stdout.isatty(),
        description="With --no-spool: wait for the answers and show them; on a terminal this is the default",
    )
    timeout: float = Field(
        30.0,
        gt=0,
        description="Seconds without an answer after which a frame is missing, and without a broker after "
        "which it ends; --loop with a spool goes on for ever, and without one once it has had a broker",
    )
    window: int = Field(
        64,
        ge=1,
        le=65535,
        description="Frames sent ahead of their answers, at most; a broker's queue is finite",
    )
    max_side: Optional[int] = Field(
        None,
        ge=16,
        description="Shrink images to this many pixels a side, as JPEG (needs the extra `camera`); one that "
        "cannot be decoded, or of which a part is missing, is sent as it is",
    )

    @field_validator("camera")
    @classmethod
    def _cameras_are_ids(cls, cameras: List[str]) -> List[str]:
        if not cameras:
            raise ValueError(f"{CAMERA_RULE}, not nothing")
        return camera_ids(cameras)

    @model_validator(mode="after")
    def _a_spool_waits(self) -> PublishSettings:
        if self.spool and "wait" in self.model_fields_set and not self.wait:
            raise ValueError("--no-wait needs --no-spool: the spool keeps each frame until its answer")
        return self

    @property
    def awaits_answers(self) -> bool:
        """Whether a frame is done with its answer, or already when the broker has it."""
        return self.spool or self.wait
