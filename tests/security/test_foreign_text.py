"""What others wrote is shown as it is: no command obeys it, breaks at it, or lets a terminal obey it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, List, Tuple

import pytest

from tests.fleet.members import change, rejection, result, status
from tests.fleets import Fleet
from tests.harness import Mosquitto, wait_for
from tests.worker.engines.graphs import Net
from tests.worker.engines.test_onnx_served import png
from wire.messages import Candidate, ModelCommand

#: Clears a screen, ends a markup that never began, turns the line, and begins another.
FOREIGN = "\x1b[2J[/x][red]:smile:\u202e\x9b\nb"
SHOWN = "\\x1b[2J[/x][red]:smile:\\u202e\\x9b\\nb"
#: In a file's name and in MQTT's topics, where some are not allowed.
NAME = "a\x1b[1m[b]c\u202e"
NAME_SHOWN = "a\\x1b[1m[b]c\\u202e"


def run(*arguments: str, terminal: bool = False, **options: Any) -> Tuple[int, str]:
    """A command's exit code, and all that it shows, on a terminal too."""
    command = [sys.executable, "-m", "fleet", *arguments]
    if not terminal:
        done = subprocess.run(command, capture_output=True, timeout=120, check=False, **options)
        return done.returncode, (done.stdout + done.stderr).decode()
    master, slave = pty.openpty()
    # A dumb terminal: rich sends it nothing but the text.
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "400", "LINES": "50", "NO_COLOR": "1"}
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment, **options) as process:
        os.close(slave)
        shown = bytearray()
        while True:
            try:
                piece = os.read(master, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(master)
    return process.returncode, shown.decode().replace("\r\n", "\n")


def check(shown: str, *wanted: str) -> None:
    """Nothing that is not to be seen, no traceback, and the text itself."""
    assert "Traceback" not in shown
    assert all(character.isprintable() or character == "\n" for character in shown), repr(shown)
    for text in wanted:
        assert text in shown, shown


@pytest.fixture
def strangers(mosquitto: Callable[..., Mosquitto], fleet: Fleet) -> List[str]:
    """The flags for a fleet in which every text is a stranger's."""
    broker = mosquitto("allow_anonymous true")
    listener = fleet.at(broker.url).listen()
    texts = dict.fromkeys(("group", "model", "weights", "engine", "engine_why", "device"), FOREIGN)
    facts = {**texts, "version": FOREIGN, "metrics": FOREIGN, "assumed": (FOREIGN,)}
    followed = change(FOREIGN, "failed", topic=FOREIGN, model=FOREIGN, instead_of=FOREIGN, detail=FOREIGN)
    for name, more in (
        ("liar", {"change": followed}),
        ("deaf", {"accepts_control": False}),
        ("gone", {"state": "lost"}),
        ("[x]\u202e", {}),
    ):
        payload = status(name, **{**facts, **more}).encode()
        listener.publish(f"{fleet.root}/workers/{name}", payload, retain=True)
    listener.publish(f"{fleet.root}/workers/odd", f'{{"schema":"{"[/x]"}"}}'.encode(), retain=True)
    command = ModelCommand(id=FOREIGN, choice={"model": FOREIGN})
    listener.publish(f"{fleet.root}/control/model", command.encode(), retain=True)
    return ["--broker", broker.url, "--root", fleet.root, "--timeout", "3"]


def test_workers(strangers: List[str]) -> None:
    for terminal in (False, True):
        _, shown = run("workers", *strangers, terminal=terminal)
        check(shown, SHOWN[:12], "[x]\\u202e")
    _, shown = run("workers", "forget", "gone", "odd", FOREIGN, *strangers, terminal=True)
    check(shown, f"{SHOWN}: there is no status", "odd: forgotten")


def test_models(strangers: List[str]) -> None:
    for model, terminal in (("a[/b]c.onnx", True), (FOREIGN, False)):
        code, shown = run("models", "use", model, *strangers, terminal=terminal)
        assert code == 1
        check(shown, f"{SHOWN}@{SHOWN}", f"assumed: {SHOWN}", "[x]\\u202e", "The command stays")
    _, shown = run("models", "use", "a[/b]c.onnx", "--canary", "1", *strangers, terminal=True)
    check(shown, "0 frames came")
    _, shown = run("models", "reset", *strangers, terminal=True)
    check(shown, f"{SHOWN}@{SHOWN}")


def test_answers(
    mosquitto: Callable[..., Mosquitto],
    fleet: Fleet,
    tmp_path: Path,
) -> None:
    broker = mosquitto("allow_anonymous true")
    listener = fleet.at(broker.url).listen("frames/+")
    texts = dict.fromkeys(("camera", "worker", "model", "weights"), FOREIGN)
    top = (Candidate(label=FOREIGN, index=0, confidence=0.9),)
    facts = {**texts, "label": FOREIGN, "top": top, "notes": (FOREIGN,), "timings_ms": {FOREIGN: 1.0}}
    refused = rejection().model_copy(update={"camera": FOREIGN, "worker": FOREIGN, "detail": FOREIGN})
    flags = ["--broker", broker.url, "--root", fleet.root, "--timeout", "60"]

    def answer(after: Callable[[], object], answers: List[Any]) -> None:
        wait_for(after, what="the command")
        for each in answers:
            kind = "results" if hasattr(each, "label") else "rejects"
            listener.publish(f"{fleet.root}/{kind}/door", each.encode())

    answers = [result(**facts), result(**{**facts, "labels": (FOREIGN,)}), refused]
    for more in ([], ["--json"]):
        count = broker.log.read_text().count("SUBACK to nanofleet-results-")
        helper = threading.Thread(
            target=answer,
            args=(
                lambda count=count: broker.log.read_text().count("SUBACK to nanofleet-results-") > count,
                answers,
            ),
        )
        helper.start()
        code, shown = run("results", "--count", "3", *flags, *more)
        helper.join()
        assert code == 0, shown
        check(shown, "[/x][red]:smile:")

    (tmp_path / f"{NAME}.png").write_bytes(png((1, 2, 3)))

    def answer_frames() -> None:
        for number in (0, 1):
            frame = wait_for(lambda: listener.messages[number:], what="a frame")[0]  # noqa: B023
            frame_id = dict(frame.properties.UserProperty)["frame-id"]
            each = (result(**facts), refused)[number].model_copy(update={"frame_id": frame_id})
            answer(lambda: True, [each])

    helper = threading.Thread(target=answer_frames)
    helper.start()
    (tmp_path / f"{NAME}-2.png").write_bytes(png((1, 2, 4)))
    (tmp_path / f"{NAME}-3.png").write_bytes(b"")
    code, shown = run(
        *("publish", str(tmp_path), "--camera", "door", "--no-spool", "--wait", *flags), terminal=True
    )
    helper.join()
    assert code == 1
    check(shown, NAME_SHOWN, f"{SHOWN} 0.90", f"({SHOWN})")


def test_classify(tmp_path: Path) -> None:
    net = Net()
    model = net.give(net.add("Softmax", net.means())).save(tmp_path / f"{NAME}.onnx")
    labels = tmp_path / "labels.json"
    foreign = FOREIGN.encode("unicode_escape").decode().replace("\\x", "\\u00")
    labels.write_text(f'["{foreign}", "b", "c"]', encoding="utf-8")
    picture, broken = tmp_path / f"{NAME}.png", tmp_path / f"{NAME}.jpg"
    picture.write_bytes(png((255, 0, 0)))
    broken.write_bytes(b"no picture")
    code, shown = run(
        *("classify", str(picture), str(broken), "--model", str(model), "--labels", str(labels)),
        *("--log-level", "error"),
    )
    assert code == 1
    check(shown, NAME_SHOWN, f"{NAME_SHOWN}.jpg: not_an_image", f"  {SHOWN}\n", f"weights {NAME_SHOWN}")


def test_provision(tmp_path: Path) -> None:
    _, shown = run("provision", str(tmp_path / NAME), "--host", "localhost", "--camera", "door")
    check(shown, NAME_SHOWN)
    _, shown = run("provision", str(tmp_path / NAME), "--camera", FOREIGN)
    check(shown)
