"""A worker of several front ends, and as many publishers as it takes to keep it busy.

with crowded(weights, 4) as crowd:
    crowd.measure(Order(frames=1000))
"""

from __future__ import annotations

import contextlib
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Sequence

from bench.drive import Order, Outcome
from bench.site import Driver, Measurement, prepared
from bench.weights import Weights

PUBLISHER = "bench.drivers.publisher"


class Crowd(Driver):
    """Several drivers that run an order together, each an equal part of it as cameras of its own."""

    def __init__(self, drivers: Sequence[Driver]) -> None:
        self._drivers = drivers
        self._threads = ThreadPoolExecutor(len(drivers))

    def run(self, order: Order) -> Outcome:
        """Have an order's frames classified, or a few more."""
        each = -(-order.frames // len(self._drivers))
        orders = [
            replace(order, frames=each, prefix=f"{order.prefix}-{number}")
            for number in range(len(self._drivers))
        ]
        outcomes = list(self._threads.map(lambda driver, part: driver.run(part), self._drivers, orders))
        notes = {
            key: statistics.mean(outcome.notes[key] for outcome in outcomes) for key in outcomes[0].notes
        }
        return Outcome(
            max(outcome.seconds for outcome in outcomes),
            sum(outcome.answered for outcome in outcomes),
            [latency for outcome in outcomes for latency in outcome.latencies_ms],
            notes,
        )

    def busy(self, measurement: Measurement) -> float:
        """How busy the publishers were; near 1 they are the bound, because each has one thread at a time."""
        spent = measurement.cpu_seconds.get(PUBLISHER, 0.0)
        return spent / measurement.outcome.seconds / len(self._drivers)

    def row(self, order: Order) -> Dict[str, Any]:
        """Run an order; returns what it took."""
        measured = self.measure(order)
        return {**measured.row(), "publishers": len(self._drivers), "publishers_busy": self.busy(measured)}


@contextlib.contextmanager
def crowded(weights: Weights, processes: int, flags: Sequence[object] = ()) -> Iterator[Crowd]:
    """Start a worker of so many front ends, with a broker and publishers."""
    with contextlib.ExitStack() as once_they_have_ended, prepared(weights) as site:
        port = site.mosquitto()
        model, folder = site.model
        given: List[object] = ["--model", model, "--weights-dir", folder, *flags]
        if processes > 1:
            given += ["--processes", processes]
        (worker,) = site.workers(port, 1, *given)
        worker.wait_until(lambda: worker.output().count("connected to") >= processes)
        command = [PUBLISHER, f"mqtt://127.0.0.1:{port}", "bench"]
        drivers = [
            Driver(command, site.folder / f"driver-{number}.log") for number in range(1 + processes // 2)
        ]
        for driver in drivers:
            once_they_have_ended.callback(driver.close)
        yield Crowd(drivers)
