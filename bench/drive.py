"""Drivers: processes that have frames classified in one way each, and report how long it took.

bench ── Order, one line of JSON ──> driver ── frames ──> whatever classifies, in it or behind it
      <── Outcome ─────────────────         <── answers ──

A driver is a process of its own, so that its CPU and memory count for its way, and the bench's don't.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Optional

from bench.photos import padded
from bench.processes import die_with_parent

#: Frames on their way at once, in every way that is asked for all the speed there is.
WINDOW = 64
#: Seconds without any answer after which a way counts as broken.
ANSWER_TIMEOUT = 60.0


@dataclass(frozen=True)
class Order:
    """Frames to classify. Without a rate, each is sent as soon as there is room among `WINDOW`."""

    frames: int
    size: str = "480p"
    #: Frames a second, at the times of a Poisson process with this seed.
    rate: Optional[float] = None
    seed: int = 0
    cameras: int = 1
    #: What their names begin with.
    prefix: str = "camera"
    #: Bytes of a frame, at least.
    payload: int = 0

    def jpegs(self) -> Iterator[bytes]:
        """The frames."""
        photos = padded(self.size, self.payload)
        return (photos[number % len(photos)] for number in range(self.frames))

    def due(self) -> List[float]:
        """Seconds from the beginning at which each frame is to be sent; 0 where there is no rate."""
        if self.rate is None:
            return [0.0] * self.frames
        arrivals, now = random.Random(self.seed), 0.0
        times = []
        for _ in range(self.frames):
            now += arrivals.expovariate(self.rate)
            times.append(now)
        return times


@dataclass
class Outcome:
    """What an order took. A latency counts from when a frame was due, not from when it was sent."""

    seconds: float
    answered: int
    latencies_ms: List[float] = field(default_factory=list)
    notes: Dict[str, Any] = field(default_factory=dict)


class Load:
    """One order on its way, for drivers whose answers come in threads."""

    def __init__(self, order: Order, window: int = WINDOW) -> None:
        self._order = order
        self._room = threading.Semaphore(window if order.rate is None else order.frames)
        self._due = order.due()
        self._latencies: List[float] = []
        self._seconds = 0.0
        self._answered = threading.Semaphore(0)
        self._noting = threading.Lock()
        self._began = 0.0

    def run(self, send: Callable[[int, bytes], None]) -> Outcome:
        """Send the frames in time, by number, and wait until `done` was called for each.

        Raises:
            RuntimeError: answers fail to come.
        """
        self._began = time.perf_counter()
        for number, jpeg in enumerate(self._order.jpegs()):
            if not self._room.acquire(timeout=ANSWER_TIMEOUT):
                raise RuntimeError(
                    f"no answer for {ANSWER_TIMEOUT:g} s; {len(self._latencies)} frames were answered"
                )
            ahead = self._due[number] - self._now()
            if ahead > 0:
                time.sleep(ahead)
            if self._order.rate is None:
                self._due[number] = self._now()
            send(number, jpeg)
        for missing in range(self._order.frames, 0, -1):
            if not self._answered.acquire(timeout=ANSWER_TIMEOUT):
                raise RuntimeError(f"{missing} of {self._order.frames} frames were not answered")
        return Outcome(self._seconds, len(self._latencies), self._latencies)

    def done(self, number: int) -> None:
        """A frame is answered; from any thread."""
        with self._noting:
            self._seconds = self._now()
            self._latencies.append((self._seconds - self._due[number]) * 1000)
        self._room.release()
        self._answered.release()

    def _now(self) -> float:
        return time.perf_counter() - self._began


def one_by_one(order: Order, classify: Callable[[bytes], object]) -> Outcome:
    """Run an order in a loop that classifies each frame before it looks at the next."""
    due, latencies, now = order.due(), [], 0.0
    began = time.perf_counter()
    for number, jpeg in enumerate(order.jpegs()):
        sent = time.perf_counter() - began
        if due[number] > sent:
            time.sleep(due[number] - sent)
        classify(jpeg)
        now = time.perf_counter() - began
        latencies.append((now - (sent if order.rate is None else due[number])) * 1000)
    return Outcome(now, len(latencies), latencies)


def serve(run: Callable[[Order], Outcome]) -> None:
    """A driver's main loop: orders on stdin, outcomes on stdout, until stdin ends."""
    die_with_parent()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # a stray print must not end up between the replies
    print(json.dumps({"ready": True}), file=replies)
    for line in sys.stdin:
        outcome = run(Order(**json.loads(line)))
        print(json.dumps(asdict(outcome)), file=replies)
