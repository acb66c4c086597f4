"""The tutorial's loop in several processes of one thread each, among which an order's frames are dealt.

python -m bench.drivers.tutorials PROCESSES LOG_FOLDER MODEL WEIGHTS_DIR
"""

from __future__ import annotations

import concurrent.futures
import sys
from dataclasses import replace
from pathlib import Path
from typing import List

from bench.drive import Order, Outcome, serve
from bench.site import Driver


def dealt(order: Order, count: int) -> List[Order]:
    """An order's frames among so many; several Poisson processes together are one."""
    shares = [order.frames // count + (number < order.frames % count) for number in range(count)]
    rate = order.rate and order.rate / count
    return [
        replace(order, frames=share, rate=rate, seed=order.seed * count + number)
        for number, share in enumerate(shares)
    ]


def together(outcomes: List[Outcome]) -> Outcome:
    """What all of them took, side by side."""
    latencies = [milliseconds for outcome in outcomes for milliseconds in outcome.latencies_ms]
    return Outcome(max(outcome.seconds for outcome in outcomes), len(latencies), latencies)


def main(processes: str, folder: str, *arguments: str) -> None:
    """Serve."""
    count = int(processes)
    command = ["bench.drivers.tutorial", *arguments, "1"]
    loops = [Driver(command, Path(folder) / f"loop-{number}.log") for number in range(count)]
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        serve(lambda order: together(list(pool.map(Driver.run, loops, dealt(order, count)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
