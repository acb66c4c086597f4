"""Reading costs a bounded amount of memory, whatever the bytes are."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from tests.fleet.members import publish_status, rejection, result, status
from tests.fleets import Fleet
from tests.harness import Listener, Mosquitto, WorkerProcess, wait_for
from tests.security.limited import limited, read_within
from tests.worker.engines.test_onnx_served import png, serve
from wire.messages import ModelCommand, Rejection, Result, WorkerStatus

USUAL: Dict[str, bytes] = {
    "WorkerStatus": status("w1").encode(),
    "ModelCommand": ModelCommand(id="1", choice={"model": "resnet50"}).encode(),
    "Result": result().encode(),
    "Rejection": rejection().encode(),
    "frame": json.dumps({"image": base64.b64encode(b"\xff\xd8\xff" + bytes(99)).decode()}).encode(),
}
#: What each may have, and nearly the most that a broker passes on.
LONGEST = {"WorkerStatus": 1 << 16, "ModelCommand": 1 << 16, "Result": 1 << 20, "Rejection": 1 << 20}
BROKERS_LONGEST = 15_500_000
#: Megabytes for a message, and for the JSON around a picture.
# Python 3.8's pydantic takes more.
FOR_A_MESSAGE, FOR_A_FRAME = 32 if sys.version_info >= (3, 9) else 64, 250


def repeated(unit: str, length: int, before: str = '{"x":[', after: str = "]}") -> bytes:
    """A list of the same, again and again, of about so many bytes."""
    return (before + unit * (length // (len(unit) + 1)) + unit.rstrip(",") + after).encode()


def members(length: int, before: str = '{"x":{', after: str = "}}") -> bytes:
    """An object with many fields."""
    fields = ",".join(f'"{number:06x}":""' for number in range(length // 12))
    return (before + fields + after).encode()


ATTACKS: Dict[str, Callable[[int], bytes]] = {
    "numbers in a field": lambda length: repeated("1,", length, '{"inputs":[', "]}"),
    "lists in a field": lambda length: repeated("[],", length, '{"top":[', "]}"),
    "lists": lambda length: repeated("[],", length),
    "objects": lambda length: repeated("{},", length),
    "numbers": lambda length: repeated("1.5,", length),
    "texts": lambda length: repeated('"",', length),
    "fields": members,
    "wrong numbers": lambda length: members(length, '{"timings_ms":{', "}}"),
    "unknown fields": lambda length: members(length, '{"choice":{', "}}"),
    "one text": lambda length: json.dumps({"worker": "x" * (length - 20)}).encode(),
    "one name": lambda length: json.dumps({"timings_ms": {"x" * (length - 30): "y"}}).encode(),
    "digits": lambda length: b'{"index":' + b"9" * (length - 12) + b"}",
    "no JSON": lambda length: b"[" * length,
}


@pytest.mark.parametrize("kind", LONGEST)
def test_a_message_of_any_bytes_is_refused_within_little_memory(kind: str, tmp_path: Path) -> None:
    most_parts = 1000 if LONGEST[kind] < 1 << 20 else 5000  # so few that each is looked at
    lengths = {"longest": BROKERS_LONGEST, "long": LONGEST[kind] - 100, "short": 3 * most_parts}
    attacks = {f"{name}, {how}": make(lengths[how]) for name, make in ATTACKS.items() for how in lengths}
    for name, error in read_within(kind, FOR_A_MESSAGE, attacks, USUAL[kind], tmp_path).items():
        assert error.startswith(f"not a {kind}: "), name
        assert len(error) < 2000, name


def test_a_frame_of_any_bytes_is_refused_within_a_multiple_of_its_length(tmp_path: Path) -> None:
    names = ("lists", "objects", "numbers", "texts", "fields", "digits")
    attacks = {name: ATTACKS[name](BROKERS_LONGEST) for name in names}
    for name, error in read_within("frame", FOR_A_FRAME, attacks, USUAL["frame"], tmp_path).items():
        assert 0 < len(error) < 500, name


#: Each field that has a length, with one that is too long.
LONG_TEXT = "x" * 5000
TOO_LONG: Dict[Any, Dict[str, Any]] = {
    WorkerStatus: {
        **dict.fromkeys(("worker", "group", "instance", "model", "weights", "engine", "device"), LONG_TEXT),
        **dict.fromkeys(("engine_why", "metrics", "version"), LONG_TEXT),
        "inputs": ["a/{camera}"] * 100,
        "assumed": ["?"] * 100,
        "change": {
            **dict.fromkeys(("command", "topic", "model", "instead_of"), LONG_TEXT),
            "state": "failed",
        },
    },
    Result: {
        **dict.fromkeys(("frame_id", "camera", "worker", "model", "weights", "label"), LONG_TEXT),
        "top": [{"label": "a", "index": 0, "confidence": 0}] * 1001,
        "labels": ["a"] * 1001,
        "notes": ["a"] * 100,
        "timings_ms": {str(number): 0 for number in range(100)},
    },
    Rejection: dict.fromkeys(("frame_id", "camera", "worker", "detail"), LONG_TEXT),
    ModelCommand: {"id": LONG_TEXT, "choice": {"model": LONG_TEXT}},
}


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, fields in TOO_LONG.items() for field in fields]
)
def test_each_field_has_a_length(kind: Any, field: str) -> None:
    message = {**json.loads(USUAL[kind.__name__]), field: TOO_LONG[kind][field]}
    with pytest.raises(Exception, match=f"^not a {kind.__name__}: {field}.*at most"):
        kind.decode(json.dumps(message).encode())


def memory(worker: WorkerProcess, which: str) -> int:
    """Megabytes that a worker has (VmRSS), or has had at most (VmHWM)."""
    lines = Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(which))) >> 10


def numbers(count: int) -> bytes:
    """A status whose topics are numbers."""
    fields = json.loads(status("liar").encode())
    return json.dumps({**fields, "inputs": list(range(count))}).encode()


def test_a_worker_starts_and_serves_beside_statuses_of_any_length(
    fleet: Fleet,
    tmp_path: Path,
) -> None:
    listener = fleet.listen("results/+")
    try:
        listener.publish(f"{fleet.root}/workers/liar", numbers(300_000), retain=True)
        listener.publish(f"{fleet.root}/workers/long-word", numbers(5000), retain=True)
        listener.publish(f"{fleet.root}/control/model", numbers(300_000), retain=True)
        (tmp_path / "long.txt").write_text("r" * 5000 + "\ngreen\nblue\n")
        long = ("--labels", str(tmp_path / "long.txt"))
        worker = serve(tmp_path, lambda net, x: net.add("Softmax", x), fleet, *long)
        fleet.send("door", png((255, 0, 0)))
        (answer,) = wait_for(lambda: listener.messages, what="an answer")
        assert Result.decode(answer.payload).label == "r" * 256
        log = next(tmp_path.glob("*-w1.log")).read_text()
        assert log.count("not a WorkerStatus: ") == 2
        assert "the model stays as it is: not a ModelCommand: " in log
        assert max(map(len, log.splitlines())) < 1000
        assert memory(worker, "VmHWM") - memory(worker, "VmRSS") < 100
    finally:
        for topic in ("workers/liar", "workers/long-word", "control/model"):
            listener.publish(f"{fleet.root}/{topic}", b"", retain=True)


def test_operators_commands_read_statuses_and_commands_of_any_length(fleet: Fleet) -> None:
    listener = fleet.listen()
    topics = [
        f"{fleet.root}/workers/liar",
        f"{fleet.root}/workers/liar-2",
        f"{fleet.root}/control/liar/model",
    ]
    for topic, count in zip(topics, (100_000, 5000, 100_000)):
        listener.publish(topic, numbers(count), retain=True)
    publish_status(listener, fleet.root, "nano-1", accepts_control=False)
    flags = ["--broker", fleet.url, "--root", fleet.root, "--timeout", "10"]
    for command, code, said in (
        (["workers"], 0, "nano-1"),
        (["models", "use", "resnet50"], 1, "refuses"),
        (["models", "reset"], 0, "nano-1"),
        (["workers", "forget", "liar-2"], 0, "liar-2: forgotten"),
    ):
        with limited(*command, *flags) as process:
            out, errors = process.communicate(timeout=60)
        assert (process.returncode, said in out) == (code, True), out[-2000:] + errors[-2000:]
        assert len(out) + len(errors) < 3000


def attack(listener: Listener, root: str) -> None:
    """Answers of a camera that are as long as they can be."""
    for topic in ("results", "rejects"):
        for length in (BROKERS_LONGEST, 1 << 20, 1_000_000, 60_000):
            for name in ("lists in a field", "wrong numbers"):
                listener.publish(f"{root}/{topic}/door", ATTACKS[name](length))


def test_a_publisher_finds_its_answer_among_others_of_any_length(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png((1, 2, 3)))
    listener = fleet.listen("frames/+")
    flags = ["--broker", fleet.url, "--root", fleet.root, "--timeout", "60", "--camera", "door"]
    with limited("publish", str(tmp_path / "a.png"), "--no-spool", "--wait", *flags) as process:
        frame = wait_for(lambda: listener.messages, what="the frame")[-1]
        attack(listener, fleet.root)
        answer = result(label="red", frame_id=dict(frame.properties.UserProperty)["frame-id"])
        listener.publish(f"{fleet.root}/results/door", answer.encode())
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, "red 0.90" in out) == (0, True), out[-2000:] + errors[-2000:]
    assert len(out) + len(errors) < 3000


def test_results_shows_what_can_be_read_among_answers_of_any_length(
    mosquitto: Callable[..., Mosquitto], fleet: Fleet
) -> None:
    broker = mosquitto("allow_anonymous true")
    listener = fleet.at(broker.url).listen()
    flags = ["--broker", broker.url, "--root", fleet.root, "--timeout", "60", "--count", "1"]
    with limited("results", *flags) as process:
        wait_for(lambda: "SUBACK to nanofleet-results-" in broker.log.read_text(), what="its subscription")
        attack(listener, fleet.root)
        listener.publish(f"{fleet.root}/results/door", result(label="red").encode())
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, "red 0.90" in out) == (0, True), out[-2000:] + errors[-2000:]
    assert len(out) + len(errors) < 20_000
