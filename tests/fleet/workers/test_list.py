"""`nanofleet workers`: a line for each."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from fleet.workers.list import _table
from fleet.workers.roster import Entry, shown_age
from tests.fleet.members import change, status
from tests.fleet.workers.output import DAY, Report, Run, lines, reporting
from tests.fleets import Fleet
from tests.harness import MODEL, Listener
from wire.messages import ModelCommand
from wire.model_choice import ModelChoice


def test_a_line_for_each(report: Report, claim: Report, workers: Run) -> None:
    report("nano-10", frames_per_second=12.34, in_hand=3)
    report("nano-2", device="cuda", engine="torch", model="resnet18", weights="birds.pth", group="other")
    report("nano-3", state="offline", age=3 * DAY, frames_per_second=7.77)
    report("nano-4", state="lost", age=6000)
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
    report("nano-4", instance="second life")
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


def test_nobody_is_there(report: Report, workers: Run, root: str) -> None:
    shown = workers()
    assert (shown.returncode, shown.stderr) == (1, "")
    assert f"{root}/workers/" in shown.stdout
    report("nano-1", state="lost")
    report("nano-2", age=DAY, lease_seconds=3)
    shown = workers()
    assert shown.returncode == 1
    assert "silent" in lines(shown)["nano-2"]
    assert workers("--json").returncode == 1


def test_json_is_the_status_and_whether_it_is_silent(report: Report, workers: Run) -> None:
    report("nano-1", assumed=("mean and std of ImageNet",))
    report("nano-2", age=DAY, lease_seconds=3)
    shown = workers("--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    first, second = map(json.loads, shown.stdout.splitlines())
    assert (first["worker"], first["state"], first["silent"]) == ("nano-1", "online", False)
    assert first["assumed"] == ["mean and std of ImageNet"]
    assert first["schema"] == 1
    assert (second["worker"], second["state"], second["silent"]) == ("nano-2", "online", True)


@pytest.mark.parametrize("behind", [2 * 3600.0, -2 * 3600.0, 20 * 365 * DAY])
def test_a_wrong_clock_makes_nobody_silent(
    report: Report, workers: Run, listener: Listener, root: str, behind: float
) -> None:
    report("nano-1", age=behind, lease_seconds=6)
    with reporting(listener, root, "nano-1", age=behind, lease_seconds=6):
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


def test_who_serves_something_else_is_marked(report: Report, workers: Run) -> None:
    report("nano-1")
    report("nano-2")
    report("nano-3", weights="IMAGENET1K_V1")
    report("nano-4", takes_frames=False)
    found = lines(workers())
    assert found["nano-3"].endswith("another model than most of its group: mobilenet_v2@IMAGENET1K_V2")
    assert found["nano-4"].endswith("has stepped aside to catch up")
    assert found["nano-1"].endswith("metrics")
    report("nano-2", weights="IMAGENET1K_V1")
    found = lines(workers())
    assert all(found[name].endswith("its group serves 2 models") for name in ("nano-1", "nano-2", "nano-3"))


def test_who_does_not_follow_the_fleets_command_is_marked(
    report: Report, workers: Run, listener: Listener, root: str
) -> None:
    command = ModelCommand(id="c1", choice=ModelChoice(model="resnet50"))
    listener.publish(f"{root}/control/model", command.encode(), retain=True)
    own = ModelCommand(id="c2", choice=ModelChoice(model="resnet18"))
    listener.publish(f"{root}/control/nano-5/model", own.encode(), retain=True)
    report("nano-1", model="resnet50", change=change("c1"))
    report("nano-2", accepts_control=False)
    report("nano-3", change=change("c1", "failed", detail="the disk is full"))
    report("nano-4", change=change("c0"))
    report("nano-5", model="resnet18", change=change("c2"))
    report("nano-6", change=change("c1", "loading"))
    found = lines(workers())
    assert found["nano-1"].endswith("metrics")
    assert found["nano-2"].endswith("--ignore-control keeps it from the fleet's resnet50")
    assert found["nano-3"].endswith("could not change to resnet50: the disk is full")
    assert found["nano-4"].endswith("does not follow the fleet's command: resnet50")
    assert found["nano-5"].endswith("has a model command of its own")
    assert found["nano-6"].endswith("is loading resnet50")


def test_what_a_stranger_has_left_is_shown_and_obeyed_by_no_terminal(
    report: Report, workers: Run, listener: Listener, root: str
) -> None:
    listener.publish(f"{root}/workers/od\u202ed", b"no status", retain=True)
    report("nano-1", model="\x1b[31mred[/]")
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
