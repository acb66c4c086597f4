"""nanofleet's own publisher, which sends the frames to a broker and waits for the workers' answers.

python -m bench.drivers.publisher BROKER ROOT [SPOOL_DIR]
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import threading
from pathlib import Path
from typing import Dict, List, Optional

from bench.drive import WINDOW, Load, Order, Outcome, serve
from publisher.publisher import Publisher
from publisher.sent import Sent
from publisher.spool import Spool
from wire.broker import BrokerSettings
from wire.messages import Result


class Answers:
    """What the workers report of their frames: an order's progress, and where its time went."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._stages: Dict[str, List[float]] = {}
        self._batches: List[int] = []

    def receive(self, sent: Sent) -> None:
        """A frame is done; in the publisher's network thread."""
        if not isinstance(sent.answer, Result):
            raise RuntimeError(f"a frame was not classified: {sent}")
        if sent.answer.repeats is not None:  # --skip-still, which would make any ratio
            raise RuntimeError(f"a frame was answered as an earlier one was: {sent}")
        for stage, milliseconds in sent.answer.timings_ms.items():
            self._stages.setdefault(stage, []).append(milliseconds)
        self._batches.append(sent.answer.batch_size)
        self._load.done(int(sent.source))

    def notes(self) -> Dict[str, float]:
        """Medians of the workers' own figures: milliseconds of each stage, frames in a batch."""
        medians = {f"{stage}_ms": statistics.median(times) for stage, times in self._stages.items()}
        return {**medians, "batch": statistics.median(self._batches)}


def run(settings: BrokerSettings, spool_dir: Optional[Path], order: Order) -> Outcome:
    """Publish an order's frames, as many cameras in turn."""
    cameras = [f"{order.prefix}-{number}" for number in range(order.cameras)]
    load = Load(order)
    answers = Answers(load)
    with contextlib.ExitStack() as stack:
        spool = stack.enter_context(Spool(spool_dir, 1_000_000_000)) if spool_dir else None
        publisher = stack.enter_context(
            Publisher(
                settings.open_broker(),
                settings.topics,
                cameras,
                window=WINDOW,
                timeout=60,
                spool=spool,
                on_done=answers.receive,
            )
        )
        publisher.connection.wait_connected(threading.Event())
        live = order.rate is not None

        def send(number: int, jpeg: bytes) -> None:
            publisher.send(cameras[number % len(cameras)], jpeg, str(number), live=live)

        outcome = load.run(send)
        publisher.wait()
    outcome.notes = answers.notes()
    return outcome


def main(broker: str, root: str, *spool_dir: str) -> None:
    """Serve one order after the other, each by a publisher of its own."""
    settings = BrokerSettings(broker=broker, root=root)
    folder = Path(spool_dir[0]) if spool_dir else None
    serve(lambda order: run(settings, folder, order))


if __name__ == "__main__":
    main(*sys.argv[1:])
