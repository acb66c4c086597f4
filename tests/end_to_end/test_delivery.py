"""Every frame is answered, whatever workers and brokers do meanwhile."""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path
from typing import Callable, List, Set

from tests.fleets import Fleet
from tests.harness import Listener, Mosquitto, WorkerProcess, statuses, wait_for
from tests.tiny import COFFEE
from wire.messages import Result


def results(listener: Listener) -> List[Result]:
    return [Result.decode(m.payload) for m in list(listener.messages) if "/results/" in m.topic]


def test_500_frames_two_workers_each_answered_once(
    photos: Path,
    fleet: Fleet,
) -> None:
    workers = [fleet.worker(id=f"w{n}", wait=False) for n in (1, 2)]
    for worker in workers:
        worker.wait_ready()
    listener = fleet.listen("results/+", "rejects/+")
    images = [(photos / name).read_bytes() for name in ("rocket.jpg", "coffee.png", "chelsea.png")]

    # Padding makes the frames so large that holding on to each would show beside the allocator's noise.
    padding = bytes(1_000_000)
    resident = [[resident_bytes(worker) for worker in workers]]
    for quarter in (range(125), range(125, 250), range(250, 375), range(375, 500)):
        for n in quarter:
            fleet.send(f"c{n % 5}", images[n % 3] + padding, f"frame-{n}")
        wait_for(
            lambda: len(listener.messages) == quarter.stop,  # noqa: B023
            120,
            what="125 answers",
        )
        resident.append([resident_bytes(worker) for worker in workers])
    answers = results(listener)
    assert Counter(a.frame_id for a in answers) == Counter(f"frame-{n}" for n in range(500))
    shares = Counter(answer.worker for answer in answers)
    assert set(shares) == {worker.id for worker in workers}
    assert min(shares.values()) > 50
    for worker, *after in zip(workers, *resident):
        print(f"{worker.id}: {shares[worker.id]} frames, MB by quarter {[round(n / 1e6) for n in after]}")
        # The heap settles in its own time, up and down; held frames would show in each quarter.
        received = shares[worker.id] / 4 * len(padding)
        assert min(late - early for early, late in zip(after, after[1:])) < received / 2


def resident_bytes(worker: WorkerProcess) -> int:
    """Resident memory of a worker with its decoders."""
    pids = [worker.process.pid]
    children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")
    for tasks in children.parent.parent.glob("*/children"):
        pids += [int(pid) for pid in tasks.read_text().split()]
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        total += int(fields[1]) * 4096
    return total


def test_acks_go_in_the_order_of_receipt(
    mosquitto: Callable[..., Mosquitto],
    photos: Path,
    fleet: Fleet,
) -> None:
    """Of frames, rejected frames, strangers' topics and the worker's own status alike [MQTT-4.6.0-2]."""
    broker = mosquitto("allow_anonymous true", "max_queued_messages 0")
    fleet = fleet.at(broker.url)
    worker = fleet.worker("--status-interval", "0.1")
    listener = fleet.listen("results/+", "rejects/+", "workers/+")
    image = (photos / "rocket.jpg").read_bytes()

    def answers() -> int:
        return len(listener.on(f"{fleet.root}/results/")) + len(listener.on(f"{fleet.root}/rejects/"))

    sent = 0
    while sent < 90 or len(listener.on(f"{fleet.root}/workers/")) < 6:  # statuses come between the frames
        for camera, payload in (("door", image), ("door", b"text"), ("not a camera", image)):
            fleet.send(camera, payload)
            sent += 1
        # No faster than they are answered, or a busy machine has thousands to answer in the end.
        wait_for(lambda sent=sent: answers() > sent * 2 / 3 - 60, what="answers to most of what was sent")

    wait_for(lambda: answers() == sent * 2 / 3, 60, what="an answer to two of three")
    assert worker.stop() == 0
    log = broker.log.read_text(errors="replace")
    client = f"nanofleet-worker-{worker.id}"
    delivered = re.findall(rf"Sending PUBLISH to {client} \(d\d, q1, r\d, m(\d+)", log)
    acked = re.findall(rf"Received PUBACK from {client} \(Mid: (\d+)", log)
    assert len(delivered) > sent + 5
    assert acked == delivered[: len(acked)]
    assert len(delivered) - len(acked) <= 1  # its own status `offline`, with which it leaves


def test_sigterm_drains_and_leaves_nothing_behind(
    mosquitto: Callable[..., Mosquitto],
    photos: Path,
    fleet: Fleet,
) -> None:
    """Frames that the broker had already given to the leaving worker are answered by it, each once."""
    broker = mosquitto("allow_anonymous true", "max_queued_messages 1000")
    fleet = fleet.at(broker.url)
    # Batches that wait, so that there are always frames in hand.
    worker = fleet.worker("--window", "4", "--max-batch", "64", "--max-delay", "0.2")
    listener = fleet.listen("results/+", "workers/+")
    image = (photos / "rocket.jpg").read_bytes()
    for n in range(60):
        fleet.send("door", image, str(n))
    assert worker.stop(signal.SIGTERM) == 0
    wait_for(lambda: "offline" in [s.state for s in statuses(listener.messages)], what="its last status")
    answers = results(listener)
    assert Counter(a.frame_id for a in answers) == Counter(str(n) for n in range(60))
    last = statuses(listener.messages)[-2:]
    assert [s.state for s in last] == ["draining", "offline"]
    assert last[-1].latency_seconds is not None
    assert last[-1].latency_seconds > 0
    assert "nanofleet-worker" not in session_names(broker)


def session_names(broker: Mosquitto) -> str:
    """The client ids in the database that Mosquitto writes when it stops with sessions left."""
    broker.stop()
    database = broker.config.parent / "mosquitto.db"
    return database.read_bytes().decode("latin-1") if database.exists() else ""


def test_killed_worker_gets_its_frames_back(
    photos: Path,
    fleet: Fleet,
) -> None:
    worker = fleet.worker("--max-batch", "64", "--max-delay", "0.5")
    listener = fleet.listen("results/+", "workers/+")
    image = (photos / "rocket.jpg").read_bytes()
    for n in range(80):
        fleet.send("door", image, str(n))
    worker.stop(signal.SIGKILL)
    wait_for(lambda: [s.state for s in statuses(listener.messages)][-1:] == ["lost"], what="the will")
    before = {r.frame_id for r in results(listener)}
    assert len(before) < 80, "the kill came too late to show anything"
    worker.start()

    def answered() -> Set[str]:
        return {r.frame_id for r in results(listener)}

    wait_for(lambda: answered() == {str(n) for n in range(80)}, 90, what="80 answers")


def test_broker_restart_is_survived(
    mosquitto: Callable[..., Mosquitto],
    photos: Path,
    tmp_path: Path,
    fleet: Fleet,
) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o777)
    data.chmod(0o777)
    broker = mosquitto("allow_anonymous true", "persistence true", f"persistence_location {data}/")
    fleet = fleet.at(broker.url)
    worker = fleet.worker()
    broker.stop()
    worker.wait_said("trying again")
    broker.start()
    worker.wait_said("connected again")
    listener = fleet.listen("results/+")
    fleet.send("door", (photos / "coffee.png").read_bytes())
    found = wait_for(lambda: results(listener), what="a result")
    assert found[0].label == COFFEE
