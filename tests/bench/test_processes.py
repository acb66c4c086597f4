"""What processes cost, and that none is left: with real ones."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import List

import pytest

from bench.drive import Load, Order, one_by_one
from tests.harness import wait_for
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]

#: Starts a child that starts a grandchild in a session of its own, as daemons do, and measures both.
SCRIPT = """
    import subprocess, sys, time
    from bench import processes

    processes.adopt_orphans()
    grandchild = [sys.executable, "-c", "while True: pass"]
    child = f"import subprocess; subprocess.Popen({grandchild!r}, start_new_session=True)"
    with processes.nothing_left():
        before = processes.cpu_seconds()
        subprocess.run([sys.executable, "-c", child], check=True)
        while len(processes.descendants()) != 1:
            time.sleep(0.01)
        (pid,) = processes.descendants()
        while processes.cpu_seconds()[pid].cpu_seconds < 0.3:
            time.sleep(0.01)
        spent, memory = processes.spent_since(before), processes.memory()
    print(sum(spent.values()), sum(memory.values()), len(processes.descendants()), pid)
"""


def test_an_orphan_is_counted_and_ended() -> None:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    spent, memory, left, pid = done.stdout.split()
    assert float(spent) >= 0.3
    assert int(memory) > 1_000_000
    assert left == "0"
    assert not Path(f"/proc/{pid}").exists()


#: A child that is told to end sends the bench a signal: then the bench is just ending what it has started.
INTERRUPTED = """
    import signal, subprocess, sys
    from bench import processes

    child = (
        "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); print(flush=True);"
        "signal.sigwait([signal.SIGTERM]); os.kill(os.getppid(), signal.SIGTERM)"
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with processes.nothing_left():
            subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE).stdout.readline()
        print("went on")
    except KeyboardInterrupt:
        print("ended", len(processes.descendants()))
"""


def test_a_signal_that_comes_while_processes_are_ended_counts_after_it() -> None:
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "ended 0\n"


def test_a_driver_ends_with_its_bench() -> None:
    script = """
        import subprocess, sys, time
        driver = [sys.executable, "-c", "from bench.drive import serve; serve(lambda order: None)"]
        started = subprocess.Popen(driver, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.stdout.readline()
        print(started.pid, flush=True)
        time.sleep(60)
    """
    bench = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert bench.stdout
    pid = int(bench.stdout.readline())
    bench.kill()
    bench.wait()
    bench.stdout.close()
    wait_for(lambda: not _runs(pid), what="the driver's end")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_latency_counts_from_when_a_frame_was_due() -> None:
    """The first answer takes 0.3 s; the frames behind it were due meanwhile, and their time includes it."""
    order = Order(4, "thumbnail", rate=1000.0)
    slow: List[float] = [0.3, 0.0, 0.0, 0.0]
    outcome = one_by_one(order, lambda jpeg: time.sleep(slow.pop(0)))
    assert outcome.answered == 4
    assert all(milliseconds > 200 for milliseconds in outcome.latencies_ms)


def test_without_a_rate_only_a_window_is_on_its_way() -> None:
    order, sent, most = Order(30, "thumbnail"), threading.Semaphore(0), []
    load = Load(order, window=5)
    on_their_way = set()

    def send(number: int, jpeg: bytes) -> None:
        on_their_way.add(number)
        most.append(len(on_their_way))
        sent.release()

    def answer() -> None:
        for number in range(30):
            sent.acquire()
            on_their_way.discard(number)
            load.done(number)

    answering = threading.Thread(target=answer)
    answering.start()
    outcome = load.run(send)
    answering.join()
    assert outcome.answered == len(outcome.latencies_ms) == 30
    assert max(most) <= 5


def test_more_frames_than_the_window_end_as_well_if_no_answer_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.drive.ANSWER_TIMEOUT", 0.05)
    with pytest.raises(RuntimeError, match=r"no answer for 0\.05 s; 0 frames were answered"):
        Load(Order(9, "thumbnail"), window=5).run(lambda number, jpeg: None)


def test_an_http_server_that_ends_is_an_error() -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    driver = [sys.executable, "-m", "bench.drivers.http", url, "body"]
    order = json.dumps({"frames": 200, "size": "thumbnail"})
    run = subprocess.run(
        driver, input=order, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 1
    assert "Cannot connect" in run.stderr


#: Measures a child whose own child, busy until then, ends meanwhile.
LEAVER = """
    import subprocess, sys, time
    from bench import processes

    busy = "import time\\nwhile time.process_time() < 0.5: pass\\ninput()"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}]); input()"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE) as started:
        while sum(stat.cpu_seconds for stat in processes.cpu_seconds().values()) < 0.4:  # of 0.5, in ticks
            time.sleep(0.01)
        before = processes.cpu_seconds()
        started.stdin.write(b"\\n")
        started.stdin.flush()
        while len(processes.descendants()) > 1:
            time.sleep(0.01)
        print(sum(processes.spent_since(before).values()))
"""


def test_what_an_ended_child_had_spent_before_does_not_count() -> None:
    command = [sys.executable, "-c", textwrap.dedent(LEAVER)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert 0 <= float(done.stdout) < 0.4


#: A thread of the observer's name, which starts another that is busy; and one beside them.
THREADS = """
    import os, threading, time
    from bench.threads import cpu_by_thread, name_them

    def spend():
        while time.thread_time() < 0.5:
            pass
        done.wait()

    def observe():
        threading.Thread(target=spend, name="network").start()

    done = threading.Event()
    name_them()
    threading.Thread(target=observe, name="observer").start()
    while cpu_by_thread(os.getpid()).get("observer", 0.0) < 0.4:
        time.sleep(0.01)
    threading.Thread(target=done.wait, name="network").start()
    found = cpu_by_thread(os.getpid())
    print(found["observer"], found["network"])
    done.set()
"""


def test_what_the_threads_that_an_observer_has_started_spend_is_the_observers() -> None:
    command = [sys.executable, "-c", textwrap.dedent(THREADS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    observer, network = map(float, done.stdout.split())
    assert observer >= 0.4
    assert network < 0.1


def test_answers_that_fail_to_come_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.drive.ANSWER_TIMEOUT", 0.05)
    load = Load(Order(3, "thumbnail"))

    def send(number: int, jpeg: bytes) -> None:
        if number == 1:
            load.done(number)

    with pytest.raises(RuntimeError, match="2 of 3 frames were not answered"):
        load.run(send)
