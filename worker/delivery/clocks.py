"""How old frames are when they come, although no two machines' clocks agree.

    captured ── kept by its sender ──> sent ── with the broker ──> received ── in hand, and then its answer
    └──────── the sender's clock ────────┘└──── both clocks ─────────┘└── this machine's, which never jumps

Only the middle compares two clocks: it is the time that passed, plus how far the sender's clock is behind.
Rules separate the two: a frame does not come before it was sent, nor after one that was sent later; the
broker keeps none while there is room for it (`Waits`), and a sender falls behind its own frames by no more
than the time that passes between two of them. Anything else shows a clock that was set back.

For a camera's first frame no rule helps. It is taken as fresh, because a frame that is wrongly `expired` is
gone.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Optional

from wire.clock import SET_AFTER
from wire.files import write_whole
from worker.delivery.frame import Frame

log = logging.getLogger(__name__)

#: Seconds by which one frame of a camera may be later than another for no particular reason.
JITTER_SECONDS = 2.0
#: How much a camera that stays late is forgiven, as a share of the time that passes: two clocks drift apart.
FORGIVEN_SHARE = 0.01
#: Seconds without a frame after which it is unknown what a camera, or its clock, has done meanwhile.
SILENCE_SECONDS = 60.0
#: Seconds by which two clocks may differ without a warning; and until the next warning, for each camera.
WRONG_SECONDS = 10.0
WARN_AGAIN_SECONDS = 3600.0
#: More than any worker has; what bounds them is who may publish frames.
MOST_CAMERAS = 1000


@dataclass
class _Camera:
    """What is known of a camera's clock.

    Attributes:
        behind: seconds that it is behind this worker's.
        late: seconds by which the last frame came late that only its sender can have kept.
        received: when that frame came, by this worker's ticks.
        sent: what the clock showed when the last frame was sent, in seconds since 1970.
        noted: the value of `behind` that the note on disk has.
        seen: when a frame came last, from whatever session.
        warned: when the log last warned of it.
    """

    behind: float
    late: float = 0.0
    received: float = float("-inf")
    sent: float = float("-inf")
    noted: Optional[float] = None
    seen: float = float("-inf")
    warned: float = float("-inf")


class Clocks:
    """The cameras' clocks. All calls but `widest` come from the network thread."""

    def __init__(
        self,
        note: Path,
        longest_wait: float,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Read what an earlier process has noted.

        Args:
            note: the file that keeps what is known for the next start.
            longest_wait: seconds for which the broker keeps frames for a worker that is away.
            clock: seconds since 1970; it may jump.
            ticks: the clock of `Frame.received_ticks`, which does not.
        """
        self._note = note
        self._longest_wait = longest_wait
        self._clock = clock
        self._ticks = ticks
        #: How far this worker's clock was ahead of its ticks at the start: their sum never jumps.
        self._ahead = clock() - ticks()
        #: By name; the camera whose frame came last at the end.
        self._cameras: Dict[str, _Camera] = _read(note)

    def judge(self, frame: Frame) -> None:
        """Find out how old a frame was when it came."""
        sent_at = frame.sent_at or frame.captured_at
        if sent_at is None:
            return
        sent = sent_at.timestamp()
        offset = self._ahead + frame.received_ticks - sent
        camera = self._cameras.pop(frame.camera, None) or _Camera(offset)
        self._cameras[frame.camera] = camera
        if len(self._cameras) > MOST_CAMERAS:
            del self._cameras[next(iter(self._cameras))]
        self._learn(camera, offset, sent, frame)
        camera.seen = frame.received_ticks
        frame.age_received = max(0.0, offset - camera.behind) + _kept(frame)
        wrong = camera.behind + self._jumped()
        if abs(wrong) > WRONG_SECONDS:
            self._warn(frame.camera, camera, wrong)

    def _learn(self, camera: _Camera, offset: float, sent: float, frame: Frame) -> None:
        excess = offset - camera.behind
        elapsed = frame.received_ticks - camera.received
        waited = self._longest_wait if frame.longest_wait is None else frame.longest_wait
        late = camera.late + elapsed if elapsed <= SILENCE_SECONDS else 0.0
        # A frame that another's session has kept is not: it comes between those of this worker's own.
        in_order = frame.longest_wait is not None
        set_back = in_order and sent < camera.sent - JITTER_SECONDS
        if excess < 0 or set_back or excess > min(waited, self._longest_wait) + late + JITTER_SECONDS:
            camera.behind = offset
        elif waited == 0:
            camera.behind += min(excess, FORGIVEN_SHARE * elapsed)
        if waited == 0:
            camera.late, camera.received = offset - camera.behind, frame.received_ticks
        if in_order:
            camera.sent = sent

    def _warn(self, name: str, camera: _Camera, wrong: float) -> None:
        if self._ticks() - camera.warned < WARN_AGAIN_SECONDS:
            return
        camera.warned = self._ticks()
        log.warning(
            "the clock of camera %s seems to be %s; the age of its frames is counted without that. Set the "
            "clocks of both machines (NTP). A camera that keeps frames for so long has to say sent-at",
            name,
            _shown(wrong),
        )

    def widest(self) -> float:
        """Seconds by which a camera's clock is off, at most; of cameras with a frame within the last hour."""
        since, jumped = self._ticks() - WARN_AGAIN_SECONDS, self._jumped()
        seen = [camera for camera in list(self._cameras.values()) if camera.seen > since]
        return max((abs(camera.behind + jumped) for camera in seen), default=0.0)

    def _jumped(self) -> float:
        """How far this machine's own clock was set since the start."""
        return self._clock() - self._ticks() - self._ahead

    def note(self) -> None:
        """Keep what is known, if it is worth it; a disk that is full or read-only costs a warning."""
        jumped = self._jumped()
        known = {name: camera.behind + jumped for name, camera in self._cameras.items()}
        before = [camera.noted for camera in self._cameras.values()]
        if all(
            old is not None and abs(old - new) < JITTER_SECONDS for old, new in zip(before, known.values())
        ):
            return
        for name, camera in self._cameras.items():
            camera.noted = known[name]
        try:
            text = json.dumps({name: round(behind, 3) for name, behind in known.items()})
            write_whole(self._note, text.encode(), lasting=False)
        except OSError as error:
            log.warning("%s: the cameras' clocks are not noted for the next start: %s", self._note, error)


def _kept(frame: Frame) -> float:
    """Seconds for which a sender kept a frame; both its times are by its own clock."""
    if frame.captured_at is None or frame.sent_at is None:
        return 0.0
    if frame.captured_at < SET_AFTER <= frame.sent_at:
        return 0.0  # the clock was set in between
    return max(0.0, (frame.sent_at - frame.captured_at).total_seconds())


def _read(note: Path) -> Dict[str, _Camera]:
    try:
        known = json.loads(note.read_bytes())
        return {name: _Camera(float(behind), noted=float(behind)) for name, behind in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # there is none, or none that can be read


def _shown(seconds: float) -> str:
    """A difference between clocks, for people."""
    size, which = abs(seconds), "behind" if seconds > 0 else "ahead of"
    for unit, length in (("days", 86_400), ("hours", 3600), ("min", 60)):
        if size >= 2 * length:
            return f"{size / length:.1f} {unit} {which} this worker's"
    return f"{size:.0f} s {which} this worker's"
