"""A part that stalls is noticed, and takes the worker down for its supervisor to start again."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Set

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from PIL import Image

from tests.fleets import Fleet
from tests.harness import WorkerProcess, wait_for
from tests.ports import free_port
from wire.broker import BrokerSettings
from wire.messages import Rejection, Result
from wire.mqtt.connection import Connection
from worker.watchdog import Stalled, Watchdog, do_alive, notify

needs_onnx = pytest.mark.skipif(sys.version_info < (3, 9), reason="onnx has no wheel for this Python")


def model_that_hangs_on_white(path: Path) -> Path:
    """An ONNX model of two classes: black frames are answered, white ones never."""
    import onnx
    from onnx import TensorProto, helper

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["kept"], ["kept_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("kept", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("kept_on", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("ReduceMin", ["x"], ["darkest"], keepdims=0, axes=[1, 2, 3]),
        helper.make_node("ReduceMax", ["darkest"], ["brightest"], keepdims=0),
        helper.make_node("Greater", ["brightest", "white"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["one_if_bright"], to=TensorProto.INT64),
        helper.make_node("Mul", ["one_if_bright", "forever"], ["times"]),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Loop", ["times", "", "mean"], ["looped"], body=body),
        helper.make_node("MatMul", ["looped", "to_two"], ["y"]),
    ]
    constants = [
        helper.make_tensor("white", TensorProto.FLOAT, [], [2.0]),
        helper.make_tensor("forever", TensorProto.INT64, [], [1 << 60]),
        helper.make_tensor("to_two", TensorProto.FLOAT, [3, 2], [1.0, 0.0] * 3),
    ]
    graph = helper.make_graph(
        nodes,
        "hangs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def jpeg(path: Path, colour: str) -> bytes:
    Image.new("RGB", (64, 64), colour).save(path, "JPEG")
    return path.read_bytes()


def with_id(frame_id: str) -> Dict[str, Any]:
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = ("frame-id", frame_id)
    return {"properties": properties}


@needs_onnx
def test_a_frame_that_hangs_the_engine_costs_two_lives_and_nothing_else(
    root: str,
    tmp_path: Path,
    fleet: Fleet,
) -> None:
    """Watchdog, restart, quarantine and poison, one after the other, as a supervisor would see them."""
    model = model_that_hangs_on_white(tmp_path / "hangs.onnx")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    white, black = jpeg(tmp_path / "white.jpg", "white"), jpeg(tmp_path / "black.jpg", "black")
    options = ("--model", str(model), "--labels", str(tmp_path / "labels.txt"), "--stall-timeout", "2")
    worker = fleet.worker(*options, "--max-batch", "4")
    listener = fleet.listen("results/+", "rejects/+")

    def frames(messages: Any, kind: Any) -> Set[str]:
        return {kind.decode(m.payload).frame_id for m in messages}

    listener.publish(f"{root}/frames/door", black, **with_id("first"))
    wait_for(lambda: listener.on(f"{root}/results/"), what="a first answer")
    for n in range(10):
        listener.publish(f"{root}/frames/door", white if n == 3 else black, **with_id(f"f{n}"))
    for life in (1, 2):
        assert worker.process.wait(60) == 1, f"life {life}"
        assert worker.log.read_text().count("has made no progress") == life
        worker.start()
    wait_for(lambda: len(listener.on(f"{root}/rejects/")) == 1, 60, "the rejection")
    rejection = Rejection.decode(listener.on(f"{root}/rejects/")[0].payload)
    assert (rejection.frame_id, rejection.reason.value) == ("f3", "poison")
    wait_for(lambda: len(frames(listener.on(f"{root}/results/"), Result)) == 10, 30, "all others answered")
    listener.publish(f"{root}/frames/door", black, **with_id("last"))
    wait_for(lambda: "last" in frames(listener.on(f"{root}/results/"), Result), 30, "the worker is well")
    assert worker.stop() == 0
    assert len(listener.on(f"{root}/rejects/")) == 1


def healthz(worker: WorkerProcess) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{worker.metrics_port}/healthz", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@needs_onnx
def test_healthz_turns_red(
    root: str,
    tmp_path: Path,
    fleet: Fleet,
) -> None:
    model = model_that_hangs_on_white(tmp_path / "hangs.onnx")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    options = ("--model", str(model), "--labels", str(tmp_path / "labels.txt"), "--stall-timeout", "1")
    worker = fleet.worker(*options)
    assert healthz(worker) == 200
    seen = []
    fleet.listen("results/+").publish(f"{root}/frames/door", jpeg(tmp_path / "white.jpg", "white"))
    while worker.process.poll() is None:
        seen.append(healthz(worker))
        time.sleep(0.05)
    assert 503 in seen
    assert worker.process.wait() == 1
    said = worker.log.read_text()
    assert "the engine has made no progress" in said
    assert "decoders or the engine" not in said, "it tells which of the two"


def test_a_network_thread_that_hangs_is_noticed(mosquitto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = BrokerSettings(broker=mosquitto_url).open_broker()
    now, release = [0.0], threading.Event()
    for module in ("watchdog", "awake"):
        monkeypatch.setattr(f"worker.{module}.time", SimpleNamespace(monotonic=lambda: now[0]))

    def hang() -> None:
        release.wait(60)

    with Connection(broker, "test-watchdog", on_delivery=lambda delivery: None) as connection:
        connection.wait_connected(threading.Event())
        dog = Watchdog(8, connection.call)
        for _ in range(10):
            dog.check()
            answered = threading.Event()
            connection.call(answered.set)  # what the dog asks comes before
            assert answered.wait(60)
            now[0] += 3
        connection.call(hang)
        for _ in range(3):
            dog.check()
            now[0] += 3
        with pytest.raises(Stalled, match="network thread"):
            dog.check()
        release.set()


def test_what_the_worker_was_stopped_for_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-Z, or by `docker pause`."""
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    dog = Watchdog(60, lambda ask: None)  # nobody answers
    for seconds in (0, 3600, *[1] * 60):
        now[0] += seconds
        dog.check()
    now[0] += 1
    with pytest.raises(Stalled, match="network thread has made no progress for 61 s"):
        dog.check()


def test_systemd_hears_of_a_worker_that_waits_for_its_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fleet: Fleet
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        worker = fleet.at(f"mqtt://127.0.0.1:{free_port()}").worker(wait=False)
        assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        worker.process.terminate()
        while systemd.recv(100) != b"STOPPING=1":
            pass
        assert worker.process.wait(60) == 0


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"
        abstract = f"nanofleet-test-{tmp_path.name}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(f"\0{abstract}")
            monkeypatch.setenv("NOTIFY_SOCKET", f"@{abstract}")
            notify("WATCHDOG=1")
            assert other.recv(100) == b"WATCHDOG=1"
    notify("READY=1")  # nobody listens any more
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


def test_a_supervisor_that_does_not_read_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(BlockingIOError):
            sender.setblocking(False)
            sender.connect(str(tmp_path / "notify"))
            while True:
                sender.send(b"WATCHDOG=1")
        notifying = threading.Thread(target=notify, args=("STOPPING=1",), daemon=True)
        notifying.start()
        notifying.join(10)
        assert not notifying.is_alive()


def test_what_takes_long_is_left_behind_when_told_to_stop() -> None:
    stop, never, done = threading.Event(), threading.Event(), threading.Event()
    do_alive(done.set, stop)
    assert done.is_set()

    def fail() -> None:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        do_alive(fail, stop)

    def wait() -> None:
        never.wait()

    threading.Timer(0.1, stop.set).start()
    do_alive(wait, stop)
    never.set()
