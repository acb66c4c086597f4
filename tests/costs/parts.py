"""The parts of nanofleet that each frame passes, run many times, for callgrind to count instructions.

Before each part, and after the last, the process calls getsid(2), at which callgrind writes down what it has
counted since the one before (`--dump-before=getsid`).
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from wire.cameras import SnapshotNotice
from wire.messages import Candidate, Result, utc_now
from wire.mqtt.deliveries import Deliveries
from wire.mqtt.packets import Delivery, Publication
from wire.mqtt.publish_properties import PublishProperties
from wire.topics import Topics
from worker.answers import result_of, timings_of
from worker.delivery.crash_journal import CrashJournal
from worker.delivery.frame import Frame
from worker.delivery.outbox import Answer, Outbox
from worker.delivery.scheduler import Scheduler
from worker.delivery.unacked import Unacked
from worker.membership.pacing import Pacing
from worker.membership.peers import Peers
from worker.serving.batcher import Batcher
from worker.serving.job import Classified
from worker.settings import WorkerSettings
from worker.snapshots import Snapshots

#: Times that each part is run: enough to drown what surrounds it.
TIMES = 200
IMAGE = bytes(50_000)
PAIRS = (("frame-id", "a" * 32), ("captured-at", "2026-01-01T00:00:00.123456+00:00"))


def result() -> Result:
    """A Result as they are."""
    top = tuple(Candidate(label=f"label {n}", index=n, confidence=0.2) for n in range(5))
    now = utc_now()
    return Result(
        **{"frame_id": "f" * 32, "camera": "door", "worker": "nano-1", "model": "m", "weights": "w"},
        **{"label": "label 0", "index": 0, "confidence": 0.2, "top": top, "width": 640, "height": 480},
        **{"captured_at": now, "received_at": now, "answered_at": now, "batch_size": 8},
        timings_ms={"queue": 1.0, "decode": 2.0, "inference": 3.0, "total": 6.0},
    )


def delivery(number: int) -> Delivery:
    """A frame as the publisher sends them."""
    return Delivery(
        topic="nanofleet/frames/door",
        payload=IMAGE,
        qos=1,
        retain=False,
        mid=number,
        epoch=1,
        user_properties={"frame-id": f"frame-{number}", "captured-at": "2026-01-01T00:00:00Z"},
    )


class Line:
    """What an Outbox sees of a connection; its broker takes all at once."""

    broker = "none"

    def publish(self, publication: Publication) -> None:
        """Publish, with success."""
        if publication.on_puback:
            publication.on_puback(0)


def reference() -> Callable[[int], object]:
    """What all others are compared with, so that the interpreter's own speed does not count."""
    values = {str(n): n for n in range(100)}
    return lambda number: sorted(values.items(), key=lambda item: -item[1])


def classified() -> Classified:
    """What a model says of a picture."""
    model: Any = SimpleNamespace(name="m", weights="w", classes=[f"label {n}" for n in range(5)])
    best = [(n, 0.2) for n in range(5)]
    return Classified(model, best, None, None, 640, 480, True, 0.0, 0.002, 0.003, 8)


def answer() -> Callable[[int], object]:
    """Write the Result of a frame."""
    frame, outcome = Frame.receive(delivery(1), "door"), classified()
    timings = timings_of(frame, outcome)
    return lambda number: result_of(frame, outcome, timings, "nano-1")


def decode() -> Callable[[int], object]:
    """Read a Result."""
    payload = result().encode()
    return lambda number: Result.decode(payload)


def properties() -> Callable[[int], object]:
    """Write the properties of a frame's packet, and read them again."""

    def run(number: int) -> None:
        packet = PublishProperties(PAIRS).pack() + IMAGE
        Properties(PacketTypes.PUBLISH).unpack(packet)  # type: ignore[no-untyped-call]

    return run


def received() -> Callable[[int], object]:
    """Make a Delivery of a frame's packet."""
    publication = Publication("nanofleet/frames/door", IMAGE, user_properties=PAIRS)
    whole = publication.header(7, dup=False) + IMAGE
    deliveries = Deliveries(mqtt.Client(CallbackAPIVersion.VERSION2), lambda delivery: None)
    return lambda number: deliveries.receive(whole[0], memoryview(whole)[4:])


def published() -> Callable[[int], object]:
    """Make a frame's packet, all but its payload."""
    publication = Publication("nanofleet/frames/door", IMAGE, user_properties=PAIRS)
    return lambda number: publication.header(7, dup=False)


def unacked() -> Callable[[int], object]:
    """Admit a frame, and ack it."""
    frames = Unacked(lambda delivery: None)

    def run(number: int) -> None:
        frame = Frame.receive(delivery(number), "door")
        frames.admit(frame)
        frames.settle(frame)

    return run


def unwrap() -> Callable[[int], object]:
    """Find the picture in a plain JPEG's message, its id and its time."""
    jpeg = b"\xff\xd8\xff\xe0" + IMAGE
    frame = Frame.receive(delivery(1)._replace(payload=jpeg), "door")
    return lambda number: frame.unwrap(16_000_000)


def outbox() -> Callable[[int], object]:
    """Publish an answer, and receive its PUBACK."""
    box = Outbox(
        Line(),  # type: ignore[arg-type]
        Topics(),
        "nano-1",
        on_published=lambda frame, answer, seconds: None,
        on_failure=lambda failure: None,
    )
    frame, message = Frame.receive(delivery(1), "door"), Answer(result().encode())
    return lambda number: box.put(frame, message)


def snapshots() -> Callable[[int], object]:
    """Pass over a frame whose label is the last snapshot's, as most are."""
    worker: Any = SimpleNamespace(
        id="nano-1", settings=WorkerSettings(snapshot_every=1e-9), cameras=None, life=None
    )
    line: Any = Line()
    offered, outcome = Snapshots(worker, line), classified()
    notice = SnapshotNotice(worker="nano-2", camera="door", label=outcome.label, frame_id="f")
    offered.heard(notice.encode())
    frame = Frame.receive(delivery(1), "door")
    return lambda number: offered.offer(frame, outcome)


def scheduler() -> Callable[[int], object]:
    """Find a frame's turn, note that it is at work, and that it is done."""
    folder = Path(tempfile.mkdtemp(prefix="nanofleet-costs-"))
    journal = CrashJournal(folder / "attempts", 64)
    gate = Scheduler(journal, at_work=8, window=32, folder=folder / "w", work=lambda frame: None)
    gate.__enter__()

    def run(number: int) -> None:
        frame = Frame.receive(delivery(number), f"camera-{number % 4}")
        gate.submit(frame)
        gate.done(frame)

    return run


def pacing() -> Callable[[int], object]:
    """Count a frame in and out."""
    pacing = Pacing(
        Peers("w", "workers", ("t",), 60.0),
        0.3,
        publish_status=lambda then: None,
        take_frames=lambda taken: None,
    )

    def run(number: int) -> None:
        pacing.received()
        pacing.answered(1)

    return run


def batcher() -> Callable[[int], object]:
    """Put eight items in, and take them as a batch."""
    batches: Batcher[int] = Batcher(8, 0.0)

    def run(number: int) -> None:
        for item in range(8):
            batches.put(item)
        batches.take()

    return run


PARTS: Dict[str, Callable[[], Callable[[int], object]]] = {
    part.__name__: part
    for part in (
        reference,
        answer,
        decode,
        properties,
        received,
        published,
        unacked,
        unwrap,
        outbox,
        snapshots,
        scheduler,
        pacing,
        batcher,
    )
}


def main() -> None:
    """Run the parts that are named."""
    ready: List[Callable[[int], object]] = [PARTS[name]() for name in sys.argv[1:]]
    for run in ready:
        for number in range(20):
            run(number)
    gc.collect()
    gc.disable()  # it comes when it likes
    for run in ready:
        os.getsid(0)
        for number in range(TIMES):
            run(number)
    os.getsid(0)


if __name__ == "__main__":
    main()
