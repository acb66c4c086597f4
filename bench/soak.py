"""nanofleet at full speed for minutes, its memory seen process by process."""

from __future__ import annotations

import time
from typing import Iterator, Sequence

from bench.drive import Order
from bench.measure import Notify, Row, frames_for, measure_for
from bench.processes import memory
from bench.settings import BenchSettings
from bench.site import started
from bench.ways import fleet
from bench.weights import find_weights

#: Seconds between two looks.
STEP = 5.0


def soak(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Keep one worker busy, frames in the spool, for as many minutes as asked for."""
    with started(fleet(spool=True), find_weights(settings.models[0])) as driver:
        order = Order(0, settings.sizes[0], cameras=4)
        frames = frames_for(measure_for(driver, settings.seconds, order).rate, STEP)
        began = time.monotonic()
        while time.monotonic() - began < settings.minutes * 60:
            minutes = (time.monotonic() - began) / 60
            notify(f"soak: {minutes:.1f} of {settings.minutes:g} minutes")
            outcome = driver.run(Order(frames, order.size, cameras=order.cameras))
            yield {
                **{"experiment": "soak", "minutes": minutes, "frames": outcome.answered},
                "frames_per_second": outcome.answered / outcome.seconds,
                "bytes_of": memory(),
            }
