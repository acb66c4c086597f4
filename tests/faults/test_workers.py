"""Workers that die, hang, leave, are slow, or are there twice. The frames come from a plain QoS 1 client."""

from __future__ import annotations

import re
import signal
import time
from typing import Callable, List, Tuple

from tests.faults import memory
from tests.faults.case import QUICK, SLOW, WINDOW, Case
from tests.faults.killing import at_work, kill_at_work
from tests.faults.proxy import PUBACK, Proxy
from tests.harness import MODEL, WorkerProcess, needs_root, wait_for
from tests.tiny import tiny_model
from worker.delivery.scheduler import SPARE

FRAMES = 1000
FLOOD_BYTES = 200_000
#: What the allocator and the network buffers of a process may take beside its frames.
FLOOD_SLACK = 30_000_000


def test_one_of_three_is_killed_and_returns(
    case: Callable[..., Case], mosquitto_url: str, times: int, outage: Callable[[float], float]
) -> None:
    """It is back before the others would adopt it, and finds what has waited for it."""
    fleet = case("one of three workers killed, back after 5 s", mosquitto_url)
    victim, *others = fleet.start(3, *SLOW, "--adopt-after", "60")
    fleet.send(FRAMES * times // 2)
    fleet.strike()
    kill_at_work(victim, lambda: fleet.send(4))
    fleet.send(FRAMES * times // 2)
    time.sleep(outage(5))
    before = len(fleet.answers)
    assert fleet.unanswered
    victim.start()
    fleet.wait_all()
    assert {heard.answer.worker for heard in fleet.answers[before:]} >= {victim.id}
    assert not any(worker.said("adopting") for worker in others)


def test_one_of_three_is_killed_for_good(case: Callable[..., Case], mosquitto_url: str, times: int) -> None:
    fleet = case("one of three workers killed for good", mosquitto_url)
    victim, *others = fleet.start(3, *SLOW)
    fleet.send(FRAMES * times // 2)
    fleet.strike()
    kill_at_work(victim, lambda: fleet.send(4))
    fleet.send(FRAMES * times // 2)
    fleet.wait_all()
    wait_for(lambda: sum(adopted(worker, victim) for worker in others) == 1, 30, "adopted by one")


def adopted(adopter: WorkerProcess, dead: WorkerProcess) -> bool:
    return adopter.said(f"adopted {dead.id}")


def test_all_three_are_killed_and_return(case: Callable[..., Case], mosquitto_url: str, times: int) -> None:
    fleet = case("all three workers killed and started again", mosquitto_url)
    workers = fleet.start(3, *SLOW)
    fleet.send(FRAMES * times // 2)
    fleet.strike()
    for worker in workers:
        kill_at_work(worker, lambda: fleet.send(4))
    fleet.send(FRAMES * times // 2)
    for worker in workers:
        worker.start()
    fleet.wait_all()


def test_a_worker_is_killed_between_its_answer_and_its_ack(
    proxy: Callable[[str], Proxy], case: Callable[..., Case], mosquitto_url: str
) -> None:
    """It has its answers' PUBACKs, or it would send no acks; those never reach the broker."""
    fleet = case("killed between the answer's PUBACK and the frame's", mosquitto_url)
    line = proxy(mosquitto_url)
    line.swallow = {PUBACK}
    (victim,) = fleet.start(1, url=line.url)
    fleet.send(10)
    wait_for(lambda: len(fleet.counts) == 10, 30, "ten answers")
    # All ten, beside those for its own status, which it reads like the others'.
    wait_for(lambda: line.swallowed >= 10 and at_work(victim) == 0, 30, "ten acks")
    fleet.strike()
    victim.stop(signal.SIGKILL)
    line.swallow = set()
    victim.start()
    wait_for(lambda: set(fleet.counts.values()) == {2}, 30, "each answered again")
    fleet.send(10)
    fleet.wait_all()
    assert fleet.row().duplicated == 10


def test_sigterm_in_the_middle_of_the_load(case: Callable[..., Case], mosquitto_url: str, times: int) -> None:
    fleet = case("SIGTERM to one of three under load", mosquitto_url)
    leaver, *_ = fleet.start(3, *SLOW)
    fleet.send(FRAMES * times // 2)
    fleet.strike()
    leaver.process.terminate()
    fleet.send(FRAMES * times // 2)
    assert leaver.process.wait(60) == 0
    draining = re.search(r"draining: (\d+) frames in hand", leaver.log.read_text())
    assert draining
    assert int(draining.group(1)) > 0
    fleet.wait_all()
    assert fleet.row().duplicated == 0


def test_a_worker_is_stopped_until_it_is_adopted(
    case: Callable[..., Case], mosquitto_url: str, outage: Callable[[float], float]
) -> None:
    """Its lease of 1.5 s runs out: another adopts it, and it finds its session gone when it goes on."""
    fleet = case("SIGSTOP of one of three until it is adopted", mosquitto_url)
    # Its watchdog counts the time for which it is stopped.
    victim, *others = fleet.start(3, *SLOW, "--stall-timeout", "600")
    fleet.send(200)
    fleet.strike()
    victim.process.send_signal(signal.SIGSTOP)
    fleet.send(200)
    wait_for(lambda: any(adopted(worker, victim) for worker in others), 60, "adopted by another")
    wait_for(lambda: not fleet.unanswered, 60, "none that waits for a worker that is not there")
    time.sleep(outage(2))
    assert sum(adopted(worker, victim) for worker in others) == 1
    victim.process.send_signal(signal.SIGCONT)
    victim.wait_said("connected again")
    before = len(fleet.answers)
    fleet.send(200)
    fleet.wait_all()
    assert any(heard.answer.worker == victim.id for heard in fleet.answers[before:])


def test_one_is_ten_times_slower(case: Callable[..., Case], mosquitto_url: str, times: int) -> None:
    fleet = case("one of three ten times slower", mosquitto_url)
    fleet.start(2)
    # Eight frames each 0.8 s.
    (slow,) = fleet.start(1, "--window", "8", "--max-batch", "9", "--max-delay", "0.8")
    fleet.strike()
    fleet.send(300 * times)
    fleet.wait_all()
    assert any(heard.answer.worker == slow.id for heard in fleet.answers)
    assert fleet.row().duplicated == 0


@needs_root
def test_a_flood(case: Callable[..., Case], mosquitto_url: str, times: int) -> None:
    """Far more than a worker can take: its memory is bounded by its window and some spare, in bytes."""
    fleet = case("flood of 1,500 frames of 200 kB", mosquitto_url)
    (worker,) = fleet.start(1, "--model", MODEL, "--max-batch", "17", "--max-delay", "0.05")
    fleet.images = [image + bytes(FLOOD_BYTES - len(image)) for image in fleet.images]
    fleet.send(20 * WINDOW)  # the engine keeps memory for each size of batch that it has seen
    fleet.wait_all()
    memory.forget_peak(worker.process.pid)
    at_rest = memory.resident_bytes(worker.process.pid)
    fleet.strike()
    for _ in range(times):
        fleet.send(1500)  # four times the bytes that its memory may grow by
        assert len(fleet.unanswered) > 20 * WINDOW, "that was no flood"
        fleet.wait_all()
    grown = memory.peak_bytes(worker.process.pid) - at_rest
    print(f"{grown / 1e6:.1f} MB above {at_rest / 1e6:.1f} MB at rest")
    assert grown < 4 * WINDOW * FLOOD_BYTES + 2 * SPARE + FLOOD_SLACK
    assert fleet.row().duplicated == 0


def test_two_workers_with_one_id(case: Callable[..., Case], mosquitto_url: str) -> None:
    fleet = case("two workers started with the same id", mosquitto_url)
    (first,) = fleet.start(1)
    fleet.send(100)
    fleet.strike()
    folder = fleet.folder / "elsewhere"  # another machine, so that no lock tells
    folder.mkdir()
    fleet.workers.append(type(first)(folder, fleet.url, fleet.root, first.id, *tiny_model(), *QUICK))
    fleet.send(200)
    assert first.process.wait(60) == 4
    fleet.send(200)
    fleet.wait_all()


def one_near_two_far(
    fleet: Case, proxy: Callable[[str], Proxy]
) -> Tuple[WorkerProcess, List[WorkerProcess], Proxy]:
    """One worker beside the broker, two behind a line that can be hurt, and 100 frames for them."""
    line = proxy(fleet.url)
    (near,) = fleet.start(1)
    far = fleet.start(2, url=line.url)
    fleet.send(100)
    return near, far, line


def test_the_network_is_cut(
    proxy: Callable[[str], Proxy],
    case: Callable[..., Case],
    mosquitto_url: str,
    outage: Callable[[float], float],
) -> None:
    """Between the broker and two of three workers: the third adopts both."""
    fleet = case("network cut until those behind it are adopted", mosquitto_url)
    near, far, line = one_near_two_far(fleet, proxy)
    fleet.strike()
    line.cut()
    fleet.send(200)
    wait_for(lambda: all(adopted(near, worker) for worker in far), 60, "both are adopted")
    wait_for(lambda: not fleet.unanswered, 60, "none that waits for workers that cannot be reached")
    time.sleep(outage(2))
    line.heal()
    for worker in far:
        worker.wait_said("connected again")
    before = len(fleet.answers)
    fleet.send(100)
    fleet.wait_all()
    assert {heard.answer.worker for heard in fleet.answers[before:]} == {w.id for w in fleet.workers}


def test_connections_are_half_open(
    proxy: Callable[[str], Proxy], case: Callable[..., Case], mosquitto_url: str
) -> None:
    """Nobody tells the workers that their connections are dead: they find out by their keepalive."""
    fleet = case("network half-open", mosquitto_url)
    _, far, line = one_near_two_far(fleet, proxy)
    fleet.strike()
    line.strand()
    fleet.send(200)
    for worker in far:
        worker.wait_said("connected again")
    fleet.send(100)
    fleet.wait_all()


def test_the_network_is_slow(
    proxy: Callable[[str], Proxy], case: Callable[..., Case], mosquitto_url: str, times: int
) -> None:
    """Slower than the frames come: they wait on the line, and so do heartbeats and acks behind them."""
    fleet = case("network slow: 200 kB/s for two of three", mosquitto_url)
    _, far, line = one_near_two_far(fleet, proxy)
    fleet.wait_all()
    fleet.strike()
    line.speed = 200_000
    before = len(fleet.answers)
    fleet.send(200 * times)
    fleet.wait_all()
    assert {heard.answer.worker for heard in fleet.answers[before:]} >= {worker.id for worker in far}
