"""The commands as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import List

import pytest

from tests.fleets import Fleet
from tests.harness import MODEL, WorkerProcess, nanofleet, need, wait_for
from tests.ports import free_port

embedded = pytest.mark.skipif(sys.version_info < (3, 9), reason="iotcore has no wheel for Python 3.8")


@embedded
def test_demo_says_what_is_in_the_photos() -> None:
    demo = nanofleet("demo", "--workers", "2", timeout=300)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    lines = demo.stdout.splitlines()
    for photo, label in (
        ("coffee.png", "espresso"),
        ("rocket.jpg", "missile"),
        ("chelsea.png", "Egyptian cat"),
    ):
        assert any(photo in line and label in line for line in lines), demo.stdout
    assert any("demo-1" in line for line in lines)
    assert any("demo-2" in line for line in lines)
    assert "/metrics" in demo.stdout


@embedded
def test_what_sets_the_demo_does_not_set_its_workers(tmp_path: Path) -> None:
    (tmp_path / "demo.toml").write_text("workers = 1\n")
    variables = {"NANOFLEET_CONFIG": str(tmp_path / "demo.toml"), "NANOFLEET_KEEP": "false"}
    demo = nanofleet("demo", timeout=300, env={**os.environ, **variables})
    assert demo.returncode == 0, demo.stdout + demo.stderr


@embedded
@pytest.mark.parametrize(
    ("address", "says", "exit_code"),
    [
        ("embedded://192.0.2.1", "cannot listen on 192.0.2.1", 1),
        ("embedded://127.0.0.1:65535", "the next one for MQTT 3.1.1", 2),
        ("embedded://home", "does not appear to be an IPv4 or IPv6 address", 2),
    ],
)
def test_an_address_where_no_broker_can_listen_is_named(address: str, says: str, exit_code: int) -> None:
    assert says in refused(["demo", "--broker", address], exit_code)


@embedded
def test_demo_with_ones_own_images_and_keep(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cup.png").write_bytes((photos / "coffee.png").read_bytes())
    command = [sys.executable, "-m", "fleet", "demo", "--images", str(tmp_path / "mine"), "--keep"]
    log = tmp_path / "demo.log"
    with log.open("wb") as output, subprocess.Popen(
        command, stdout=output, stderr=output, start_new_session=True
    ) as demo:
        try:
            wait_for(
                lambda: "Ctrl-C stops" in log.read_text() or demo.poll() is not None, 120, what=log.read_text
            )
            time.sleep(2)
            os.killpg(demo.pid, signal.SIGINT)  # as a terminal does, so that its broker is told as well
            assert demo.wait(30) == 0, log.read_text()
        finally:
            demo.kill()
    text = log.read_text()
    assert "cup.png" in text
    assert "espresso" in text
    assert "Traceback" not in text
    assert nanofleet("demo", "--images", str(tmp_path / "none")).returncode == 2


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_demo_that_is_ended_leaves_no_worker(tmp_path: Path) -> None:
    """Its workers have got all by which it finds its broker, the keepalive as well."""
    log, given = tmp_path / "demo.log", ["--broker", "mqtt://127.0.0.1:1", "--keepalive", "7"]
    command = [sys.executable, "-m", "fleet", "demo", "--keep", *given]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with log.open("wb") as output:
        demo = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    mark = f"TMPDIR={tmp_path}".encode()

    def its_processes() -> List[Path]:
        return [p.parent for p in Path("/proc").glob("[0-9]*/environ") if mark in _content(p).split(b"\0")]

    # Not any child: Python 3.8 asks uname for the processor before the demo has begun.
    def has_worker() -> bool:
        commands = [_content(p / "cmdline").split(b"\0") for p in its_processes()]
        return any({b"worker", *(each.encode() for each in given)} <= set(command) for command in commands)

    wait_for(has_worker, what="a worker")
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(30) == 128 + signal.SIGTERM, log.read_text()
    wait_for(lambda: not its_processes(), what="its workers are gone")
    assert "Traceback" not in log.read_text()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has just ended
        return b""


@embedded
def test_a_worker_brings_its_own_broker(tmp_path: Path, photos: Path, fleet: Fleet) -> None:
    port = free_port(count=2)
    fleet.at(f"embedded://127.0.0.1:{port}").worker("--model", MODEL)
    sent = nanofleet(
        *("publish", str(photos / "coffee.png"), "--wait"),
        *("--broker", f"mqtt://127.0.0.1:{port}", "--root", fleet.root),
    )
    assert sent.returncode == 0, sent.stderr
    assert "espresso" in sent.stdout
    frame = [
        "-p",
        str(port + 1),
        "-t",
        f"{fleet.root}/frames/old",
        "-f",
        str(photos / "coffee.png"),
        "-q",
        "1",
    ]
    subprocess.run([need("mosquitto_pub"), "-V", "311", *frame], check=True)


def test_publish_shows_the_answers(photos: Path, tmp_path: Path, fleet: Fleet) -> None:
    worker = fleet.worker("--model", MODEL)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    address = ["--broker", fleet.url, "--root", fleet.root, "--wait"]
    sent = nanofleet("publish", str(photos / "rocket.jpg"), str(photos / "coffee.png"), *address)
    assert sent.returncode == 0, sent.stderr
    assert "missile" in sent.stdout
    assert worker.id in sent.stdout
    assert "sent 2, answered 2, rejected 0, missing 0; p50" in sent.stdout
    sent = nanofleet("publish", str(photos / "rocket.jpg"), str(bad), *address)
    assert sent.returncode == 1
    assert "rejected: not_an_image" in sent.stdout


def refused(arguments: List[str], exit_code: int = 2) -> str:
    """Run a command that must fail in one message."""
    run = nanofleet(*arguments)
    assert run.returncode == exit_code, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr


def test_errors_are_one_message(tmp_path: Path) -> None:
    assert "did you mean 'worker'" in refused(["wroker"])
    assert "did you mean resnet18" in refused(["worker", "--model", "resnet81", "--ignore-control"])
    assert "--max-batch: " in refused(["worker", "--max-batch", "300"])
    assert "{camera}" in refused(["worker", "--input", "cameras/snapshot"])
    assert "process list" in refused(["publish", __file__, "--broker", "mqtt://user:secret@localhost"])
    assert "secret" not in refused(["publish", __file__, "--broker", "mqtt://user:secret@localhost"])
    assert str(tmp_path / "none.jpg") in refused(["publish", str(tmp_path / "none.jpg")])


def test_a_thread_that_is_still_in_an_engine_does_not_change_the_exit_code() -> None:
    """As one that warms a new model up while the worker leaves."""
    script = """
        import sys, threading, time, torch
        from fleet.__main__ import main

        def warm_up():
            while True:
                torch.nn.functional.conv2d(torch.rand(8, 16, 99, 99), torch.rand(16, 16, 3, 3))

        threading.Thread(target=warm_up, name="control", daemon=True).start()
        time.sleep(0.5)
        # Without a broker to ask which model is commanded, a worker would wait for one first.
        sys.argv = ["nanofleet", "worker", "--engine", "torch", "--model", "nonsense", "--ignore-control"]
        sys.exit(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    # More threads than one would keep the processors from everything else, its own main thread included.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(3):
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 2, run.stderr
        assert "nonsense" in run.stderr


def test_a_file_name_may_hold_any_bytes(photos: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(odd, "wb") as file:  # noqa: PTH123
        file.write((photos / "rocket.jpg").read_bytes())
    run = nanofleet("classify", odd, str(photos / "coffee.png"), "--model", "efficientnet_lite0")  # type: ignore[arg-type]
    assert run.returncode == 0, run.stderr
    assert "missile" in run.stdout
    assert "espresso" in run.stdout


@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0, 2.0, 4.0])
def test_ctrl_c_while_starting_stops_at_once(tmp_path: Path, seconds: float) -> None:
    """While imports run and weights load it ends by the signal, and later, waiting for a broker, with 0."""
    worker = WorkerProcess(tmp_path, f"mqtt://127.0.0.1:{free_port()}", "root", "early", "--model", MODEL)
    time.sleep(seconds)
    reached_for_a_broker = worker.said("cannot reach")
    assert worker.stop(signal.SIGINT, timeout=20) in ((0,) if reached_for_a_broker else (0, -signal.SIGINT))
    assert not worker.said("Traceback")
