"""Still cameras: a picture that hardly differs from its camera's last classified one is answered as that was.

decoder's thread: decoded ──> _Look.repeat ── still ──> the last one's answer, marked with whose it is
                                           └─ changed ──> Batcher, Engine ──> _Look.sent keeps the answer

A picture is compared with the last one that was *classified*, not with the last one that came: else a change
that is slow enough would never be seen.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from wire.picture.region import Region
from worker.decode.pool import Pixels
from worker.errors import Expired
from worker.models.info import Model
from worker.serving.groups import Grouping
from worker.serving.job import Classified, Job, Outcome
from worker.serving.sketch import shows_the_same, sketch

#: Seconds for which an answer is repeated: what the comparison misses, the model sees so much later at most.
#: Of a camera that sends a frame a second it sees one in thirty, so that a longer time would save little.
MOST_SECONDS = 30.0
#: Cameras whose last picture is kept, at most, those seen last: 10 kB each, and 16 bytes for each of its
#: `--top-k` classes. Anybody may publish frames, under any name.
MOST_CAMERAS = 1000


class _Last(NamedTuple):
    """A camera's last classified picture."""

    frame_id: str
    region: Region
    grouping: Optional[Grouping]
    #: Without its `best`, which are the array beside it: a list of a thousand would take ten times as much.
    classified: Classified
    best: NDArray[np.float64]
    sketch: NDArray[np.float32]
    #: By `time.monotonic()`.
    seconds: float


class StillCameras:
    """The last classified picture of each camera. Any thread may ask."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, _Last] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, job: Job, camera: str, frame_id: str) -> Job:
        """Have a picture of a camera answered as its last one was, if it hardly differs.

        Returns:
            What is to be done with it.
        """
        look = _Look(self, job, camera, frame_id)
        return job._replace(repeat=look.repeat, done=look.done, sent=look.sent)

    def last(self, camera: str) -> Optional[_Last]:
        """A camera's last classified picture; None if there is none, or none young enough."""
        with self._lock:
            last = self._last.get(camera)
            if last is None or time.monotonic() - last.seconds > MOST_SECONDS:
                return None
            self._last.move_to_end(camera)
            return last

    def note(self, camera: str, last: Optional[_Last]) -> None:
        """Keep a camera's last classified picture; None forgets the one before."""
        with self._lock:
            self._last.pop(camera, None)
            if last is not None:
                self._last[camera] = last
                if len(self._last) > MOST_CAMERAS:
                    self._last.popitem(last=False)


class _Look:
    """A picture on its way, as its camera's last one is looked back at."""

    def __init__(self, cameras: StillCameras, job: Job, camera: str, frame_id: str) -> None:
        self._cameras = cameras
        self._job = job
        self._camera = camera
        self._frame_id = frame_id
        self._sketch: Optional[NDArray[np.float32]] = None
        self._outcome: Optional[Outcome] = None

    def repeat(self, model: Model, pixels: Pixels) -> Optional[Classified]:
        """The camera's last answer, if it is this picture's too; in a decoder's thread."""
        if not pixels.complete:
            return None
        began = time.perf_counter()
        self._sketch = sketch(pixels.array)
        last = self._cameras.last(self._camera)
        if last is None or not self._is_asked_the_same(last, model):
            return None
        if not shows_the_same(last.sketch, self._sketch):
            return None
        return last.classified._replace(
            best=[(int(index), confidence) for index, confidence in last.best.tolist()],
            width=pixels.width,
            height=pixels.height,
            began=began,
            decode_seconds=pixels.decode_ms / 1000,
            inference_seconds=0.0,
            batch_size=1,
            repeats=last.frame_id,
        )

    def _is_asked_the_same(self, last: _Last, model: Model) -> bool:
        """Whether the model, the region and the groups are those of the last one."""
        return (
            last.classified.model is model
            and last.region == self._job.region
            and last.grouping is self._job.grouping
        )

    def done(self, outcome: Outcome) -> None:
        """Remember what came of the picture, and pass it on."""
        self._outcome = outcome
        self._job.done(outcome)

    def sent(self) -> None:
        """Keep the answer, not before it is on its way: no Result may come before the one that it repeats."""
        outcome = self._outcome
        if isinstance(outcome, Classified):
            if outcome.repeats is None:
                self._cameras.note(self._camera, self._kept(outcome))
        elif not isinstance(outcome, Expired):  # of which nothing is known but that there were too many
            self._cameras.note(self._camera, None)
        self._job.sent()

    def _kept(self, classified: Classified) -> Optional[_Last]:
        """The picture for the next ones; None if a part of it is missing, or the model is compared."""
        if self._sketch is None:
            return None
        return _Last(
            self._frame_id,
            self._job.region,
            self._job.grouping,
            classified._replace(best=[]),
            np.array(classified.best, np.float64),
            self._sketch,
            time.monotonic(),
        )
