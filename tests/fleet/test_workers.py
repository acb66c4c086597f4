"""`nanofleet workers` and `workers forget`, on a real broker with statuses as workers leave them."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
from rich.console import Console

from fleet.workers.list import _table
from fleet.workers.roster import Entry, shown_age
from fleet.workers.settings import ForgetSettings
from tests.fleet.members import change, publish_claim, publish_status, status
from tests.fleets import Fleet
from tests.harness import MODEL, Listener, nanofleet, wait_for
from wire.errors import SettingsError
from wire.messages import ModelCommand
from wire.model_choice import ModelChoice

DAY = 86400.0


@pytest.fixture
def listener(fleet: Fleet) -> Listener:
    return fleet.listen("#")


@pytest.fixture
def tell(listener: Listener, root: str) -> Callable[..., None]:
    """Publish a status."""

    def publish(name: str, **facts: Any) -> None:
        publish_status(listener, root, name, **facts)

    return publish


@pytest.fixture
def claim(listener: Listener, root: str) -> Callable[..., None]:
    """Publish an adopter's claim."""

    def publish(dead: str, worker: str, state: str = "ended", **facts: Any) -> None:
        publish_claim(listener, root, dead, worker, state, **facts)

    return publish


@pytest.fixture
def workers(mosquitto_url: str, root: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `nanofleet workers …` on this test's fleet."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return nanofleet("workers", *arguments, "--broker", mosquitto_url, "--root", root)

    return run


Run = Callable[..., "subprocess.CompletedProcess[str]"]
Tell = Callable[..., None]


def lines(run: subprocess.CompletedProcess[str]) -> Dict[str, str]:
    """The lines of a table, by worker."""
    assert run.stderr == "", run.stderr
    return {line.split()[0]: line.rstrip() for line in run.stdout.splitlines()[1:]}


def test_a_line_for_each(tell: Tell, claim: Tell, workers: Run) -> None:
    tell("nano-10", frames_per_second=12.34, in_hand=3)
    tell("nano-2", device="cuda", engine="torch", model="resnet18", weights="birds.pth", group="other")
    tell("nano-3", state="offline", age=3 * DAY, frames_per_second=7.77)
    tell("nano-4", state="lost", age=6000)
    claim("nano-4", "nano-2", age=600)
    shown = workers()
    assert shown.returncode == 0
    found = lines(shown)
    assert list(found) == ["nano-2", "nano-3", "nano-4", "nano-10"]
    for text in ("online", "workers", "mobilenet_v2@IMAGENET1K_V2", "onnxruntime on cpu", "12.3", " 3 "):
        assert text in found["nano-10"]
    assert "http://nano-10:9464/metrics" in found["nano-10"]
    assert "resnet18@birds.pth          torch on cuda " in found["nano-2"]
    assert "most of its group" not in shown.stdout  # groups may serve what they like
    assert "3 d" in found["nano-3"]
    assert "7.8" not in found["nano-3"]
    assert found["nano-4"].endswith("adopted by nano-2")
    assert "  10 min  " in found["nano-4"]
    in_json = {line["worker"]: line for line in map(json.loads, workers("--json").stdout.splitlines())}
    assert (in_json["nano-4"]["adopted"], in_json["nano-4"]["adopter"]) == (True, "nano-2")
    assert "adopter" not in in_json["nano-3"]
    tell("nano-4", instance="second life")
    assert "adopted" not in lines(workers())["nano-4"]


def test_a_real_worker_and_its_log(fleet: Fleet, workers: Run) -> None:
    worker = fleet.worker("--model", MODEL, "--log-format", "json", "--status-interval", "0.5")
    shown = workers()
    assert shown.returncode == 0
    assert f"{MODEL}@IMAGENET1K_V1" in lines(shown)[worker.id]
    assert f":{worker.metrics_port}/metrics" in lines(shown)[worker.id]
    assert workers("forget", worker.id).returncode == 1
    assert worker.stop() == 0
    assert "offline" in lines(workers())[worker.id]
    assert workers("forget", worker.id).stdout.startswith(f"{worker.id}: forgotten; it was offline")
    log = [json.loads(line) for line in worker.log.read_text().splitlines()]
    assert {line["level"] for line in log} == {"info"}
    assert any(line["message"].startswith("connected to") for line in log)


def test_nobody_is_there(tell: Tell, workers: Run, root: str) -> None:
    shown = workers()
    assert (shown.returncode, shown.stderr) == (1, "")
    assert f"{root}/workers/" in shown.stdout
    tell("nano-1", state="lost")
    tell("nano-2", age=DAY, lease_seconds=3)
    shown = workers()
    assert shown.returncode == 1
    assert "silent" in lines(shown)["nano-2"]
    assert workers("--json").returncode == 1


def test_json_is_the_status_and_whether_it_is_silent(tell: Tell, workers: Run) -> None:
    tell("nano-1", assumed=("mean and std of ImageNet",))
    tell("nano-2", age=DAY, lease_seconds=3)
    shown = workers("--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    first, second = map(json.loads, shown.stdout.splitlines())
    assert (first["worker"], first["state"], first["silent"]) == ("nano-1", "online", False)
    assert first["assumed"] == ["mean and std of ImageNet"]
    assert first["schema"] == 1
    assert (second["worker"], second["state"], second["silent"]) == ("nano-2", "online", True)


@pytest.mark.parametrize("behind", [2 * 3600.0, -2 * 3600.0, 20 * 365 * DAY])
def test_a_wrong_clock_makes_nobody_silent(
    tell: Tell, workers: Run, listener: Listener, root: str, behind: float
) -> None:
    tell("nano-1", age=behind, lease_seconds=6)
    with speaking(listener, root, "nano-1", age=behind, lease_seconds=6):
        shown = workers()
        kept = workers("forget", "nano-1")
        passed_over = workers("forget", "--gone", "1h")
    assert shown.returncode == 0
    assert (
        f"its clock is {abs(behind):.0f} s {'behind' if behind > 0 else 'ahead of'} this one" in shown.stdout
    )
    assert kept.returncode == 1
    assert kept.stdout.startswith("nano-1: kept; it is online, and was heard ")
    assert passed_over.stdout == "Nothing was removed.\n"


class speaking:
    """A worker that goes on publishing its status while the block lasts."""

    def __init__(self, listener: Listener, root: str, name: str, every: float = 0.5, **facts: Any) -> None:
        self._every = every
        self._publish = lambda: publish_status(listener, root, name, **facts)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self._publish()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()


def test_who_serves_something_else_is_marked(tell: Tell, workers: Run) -> None:
    tell("nano-1")
    tell("nano-2")
    tell("nano-3", weights="IMAGENET1K_V1")
    tell("nano-4", takes_frames=False)
    found = lines(workers())
    assert found["nano-3"].endswith("another model than most of its group: mobilenet_v2@IMAGENET1K_V2")
    assert found["nano-4"].endswith("has stepped aside to catch up")
    assert found["nano-1"].endswith("metrics")
    tell("nano-2", weights="IMAGENET1K_V1")
    found = lines(workers())
    assert all(found[name].endswith("its group serves 2 models") for name in ("nano-1", "nano-2", "nano-3"))


def test_who_does_not_follow_the_fleets_command_is_marked(
    tell: Tell, workers: Run, listener: Listener, root: str
) -> None:
    command = ModelCommand(id="c1", choice=ModelChoice(model="resnet50"))
    listener.publish(f"{root}/control/model", command.encode(), retain=True)
    own = ModelCommand(id="c2", choice=ModelChoice(model="resnet18"))
    listener.publish(f"{root}/control/nano-5/model", own.encode(), retain=True)
    tell("nano-1", model="resnet50", change=change("c1"))
    tell("nano-2", accepts_control=False)
    tell("nano-3", change=change("c1", "failed", detail="the disk is full"))
    tell("nano-4", change=change("c0"))
    tell("nano-5", model="resnet18", change=change("c2"))
    tell("nano-6", change=change("c1", "loading"))
    found = lines(workers())
    assert found["nano-1"].endswith("metrics")
    assert found["nano-2"].endswith("--ignore-control keeps it from the fleet's resnet50")
    assert found["nano-3"].endswith("could not change to resnet50: the disk is full")
    assert found["nano-4"].endswith("does not follow the fleet's command: resnet50")
    assert found["nano-5"].endswith("has a model command of its own")
    assert found["nano-6"].endswith("is loading resnet50")


def test_what_a_stranger_has_left_is_shown_and_obeyed_by_no_terminal(
    tell: Tell, workers: Run, listener: Listener, root: str
) -> None:
    listener.publish(f"{root}/workers/od\u202ed", b"no status", retain=True)
    tell("nano-1", model="\x1b[31mred[/]")
    shown = workers()
    assert "\x1b" not in shown.stdout
    assert "unreadable" in lines(shown)["od\\u202ed"]
    assert "\\x1b[31mred[/]" in shown.stdout
    as_json = workers("--json")
    assert [json.loads(line)["worker"] for line in as_json.stdout.splitlines()] == ["nano-1"]
    assert "not a WorkerStatus" in as_json.stderr
    assert workers("forget", "od\u202ed").returncode == 0


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_narrow_terminal_does_without_some_columns(width: int) -> None:
    entries = [Entry(f"nano-{n}", status("n"), "online", 3.0, notes=("a note " * n,)) for n in range(9)]
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(_table(entries, console))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert width < 80 or "mobilenet_v2@IMAGENET1K_V2" in text
    assert ("metrics" in text) == (width == 200)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0 s"), (119, "119 s"), (120, "2 min"), (7300, "2 h"), (8 * DAY, "8 d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert shown_age(Entry("nano-1", None, "offline", seconds)) == text
    assert shown_age(Entry("nano-1", None, "lost", seconds, at_most=True)) == f"within {text}"


# --- live ---------------------------------------------------------------------------------------------


@pytest.fixture
def watch(mosquitto_url: str, root: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start `nanofleet workers --watch`; what it says goes into a file."""
    started: List[subprocess.Popen[bytes]] = []
    out = tmp_path / "watch.txt"

    def start(*flags: str) -> Any:
        command = [sys.executable, "-m", "fleet", "workers", "--watch", "--broker", mosquitto_url]
        with out.open("wb") as file:
            started.append(subprocess.Popen([*command, "--root", root, *flags], stdout=file, stderr=file))
        return started[-1], out

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_line_for_each_change_until_ctrl_c(tell: Tell, watch: Any, listener: Listener, root: str) -> None:
    tell("nano-1")
    process, out = watch()

    def said(*words: str) -> Any:
        return wait_for(
            lambda: [line for line in out.read_text().splitlines() if all(word in line for word in words)],
            what=f"{words}: {out.read_text()}",
        )

    said("nano-1", "online", "mobilenet_v2@IMAGENET1K_V2")
    tell("nano-1", frames_per_second=99.0, in_hand=7)  # changes with each status, and is worth no line
    tell("nano-2", lease_seconds=2)
    said("nano-2", "online")
    said("nano-2", "silent")
    tell("nano-1", state="lost")
    said("nano-1", "lost")
    listener.publish(f"{root}/workers/nano-1", b"", retain=True)
    said("nano-1", "forgotten")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    text = out.read_text()
    assert len(text.splitlines()) == 5, text
    assert "\x1b" not in text


def test_each_change_as_json(tell: Tell, watch: Any, listener: Listener, root: str) -> None:
    process, out = watch("--json")
    tell("nano-1")
    tell("nano-1", state="offline")
    wait_for(lambda: "offline" in out.read_text(), what="offline")
    listener.publish(f"{root}/workers/nano-1", b"", retain=True)
    wait_for(lambda: "forgotten" in out.read_text(), what="forgotten")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["state"] for line in found][-2:] == ["offline", "forgotten"]


def test_no_line_calls_a_worker_with_a_wrong_clock_silent(
    tell: Tell, watch: Any, listener: Listener, root: str
) -> None:
    tell("nano-1", age=3600, lease_seconds=30)
    with speaking(listener, root, "nano-1", every=4, age=3600, lease_seconds=30):
        _, out = watch()
        wait_for(lambda: "online" in out.read_text(), what="online")
    assert "silent" not in out.read_text()


def test_a_reader_that_leaves_ends_it_quietly(tell: Tell, mosquitto_url: str, root: str) -> None:
    tell("nano-1")
    command = f"{sys.executable} -m fleet workers --watch --broker {mosquitto_url} --root {root} | head -n 1"
    shown = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "nano-1" in shown.stdout


# --- forget -------------------------------------------------------------------------------------------


def kept(listener: Listener, root: str, fleet: Fleet) -> List[str]:
    """The workers of whom the broker keeps a status, or a claim on their session."""
    fleet.listen("workers/#")
    fresh = fleet.listen("workers/#", "last")
    listener.publish(f"{root}/last", b"-")
    wait_for(lambda: fresh.on(f"{root}/last"), what="the last message")
    return sorted({m.topic.split("/workers/")[1].split("/")[0] for m in fresh.on(f"{root}/workers/")})


def test_forget_by_name(
    tell: Tell,
    workers: Run,
    listener: Listener,
    root: str,
    fleet: Fleet,
) -> None:
    tell("nano-1")
    tell("nano-2", state="draining")
    tell("nano-3", state="offline")
    tell("nano-4", state="lost")
    tell("nano-5", age=DAY, lease_seconds=2)
    forgotten = workers("forget", *(f"nano-{n}" for n in range(1, 7)))
    assert (forgotten.returncode, forgotten.stderr) == (1, "")
    said = forgotten.stdout.splitlines()
    assert [line.split(";")[0] for line in said if "forgotten" in line] == [
        f"nano-{n}: forgotten" for n in (3, 4, 5)
    ]
    assert "do not adopt the frames" in said[1]
    assert "adopt" not in said[0]
    assert any(line.startswith("nano-1: kept; it is online") for line in said)
    assert any(line.startswith("nano-2: kept; it is draining") for line in said)
    assert "nano-6: there is no status of such a worker" in said
    assert kept(listener, root, fleet) == ["nano-1", "nano-2"]


def test_forget_those_long_gone(
    tell: Tell,
    claim: Tell,
    workers: Run,
    listener: Listener,
    root: str,
    fleet: Fleet,
) -> None:
    tell("nano-1")
    tell("nano-2", state="offline", age=8 * DAY)
    tell("nano-3", state="lost", age=8 * DAY)
    claim("nano-3", "nano-1", age=6 * DAY)
    tell("nano-4", age=8 * DAY, lease_seconds=2)
    # Its will was written when it started: it may have died a moment ago.
    tell("nano-5", state="lost", age=8 * DAY)
    # One that is being adopted says since when.
    tell("nano-6", state="lost", age=9 * DAY)
    claim("nano-6", "nano-1", "draining", age=8 * DAY)
    # It left before it had heard of the time, and that may have been a moment ago.
    tell("nano-7", state="offline", age=56 * 365 * DAY)
    forgotten = workers("forget", "--gone", "7d")
    assert (forgotten.returncode, forgotten.stderr) == (0, "")
    said = forgotten.stdout.splitlines()
    assert [line.split(":")[0] for line in said if "forgotten" in line] == ["nano-2", "nano-4", "nano-6"]
    assert "nano-5: kept; it was lost at some time within 8 d" in said[-2]
    assert "nano-7: kept; its clock is wrong" in said[-1]
    assert kept(listener, root, fleet) == ["nano-1", "nano-3", "nano-5", "nano-7"]


def test_silence_is_not_judged_in_less_time_than_a_lease(tell: Tell, workers: Run) -> None:
    tell("nano-1", age=DAY, lease_seconds=60)
    refused = workers("forget", "nano-1", "--timeout", "5")
    assert refused.returncode == 1
    assert "--timeout 60 or more" in refused.stderr


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("15m", timedelta(minutes=15)),
        ("7d", timedelta(days=7)),
    ],
)
def test_spans(text: str, span: timedelta) -> None:
    assert ForgetSettings.from_command_line("forget", ["--gone", text]).gone == span


@pytest.mark.parametrize(
    "argv", [["--gone", "7"], ["--gone", "d"], ["--gone=-1d"], ["--gone", "9" * 30 + "d"]]
)
def test_what_is_no_span(argv: List[str]) -> None:
    with pytest.raises(SettingsError, match="--gone"):
        ForgetSettings.from_command_line("forget", argv)


@pytest.mark.parametrize("argv", [[], ["nano-1", "--gone", "7d"]])
def test_names_or_an_age(argv: List[str]) -> None:
    with pytest.raises(SettingsError, match="name workers, or say --gone"):
        ForgetSettings.from_command_line("forget", argv)
