"""`nanofleet workers --watch`: a line for each change."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

from tests.fleet.workers.output import Report, reporting
from tests.harness import Listener, wait_for


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


def test_a_line_for_each_change_until_ctrl_c(
    report: Report, watch: Any, listener: Listener, root: str
) -> None:
    report("nano-1")
    process, out = watch()

    def said(*words: str) -> Any:
        return wait_for(
            lambda: [line for line in out.read_text().splitlines() if all(word in line for word in words)],
            what=f"{words}: {out.read_text()}",
        )

    said("nano-1", "online", "mobilenet_v2@IMAGENET1K_V2")
    report("nano-1", frames_per_second=99.0, in_hand=7)  # changes with each status, and is worth no line
    report("nano-2", lease_seconds=2)
    said("nano-2", "online")
    said("nano-2", "silent")
    report("nano-1", state="lost")
    said("nano-1", "lost")
    listener.publish(f"{root}/workers/nano-1", b"", retain=True)
    said("nano-1", "forgotten")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    text = out.read_text()
    assert len(text.splitlines()) == 5, text
    assert "\x1b" not in text


def test_each_change_as_json(report: Report, watch: Any, listener: Listener, root: str) -> None:
    process, out = watch("--json")
    report("nano-1")
    report("nano-1", state="offline")
    wait_for(lambda: "offline" in out.read_text(), what="offline")
    listener.publish(f"{root}/workers/nano-1", b"", retain=True)
    wait_for(lambda: "forgotten" in out.read_text(), what="forgotten")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["state"] for line in found][-2:] == ["offline", "forgotten"]


def test_no_line_calls_a_worker_with_a_wrong_clock_silent(
    report: Report, watch: Any, listener: Listener, root: str
) -> None:
    report("nano-1", age=3600, lease_seconds=30)
    with reporting(listener, root, "nano-1", every=4, age=3600, lease_seconds=30):
        _, out = watch()
        wait_for(lambda: "online" in out.read_text(), what="online")
    assert "silent" not in out.read_text()


def test_a_reader_that_leaves_ends_it_quietly(report: Report, mosquitto_url: str, root: str) -> None:
    report("nano-1")
    command = f"{sys.executable} -m fleet workers --watch --broker {mosquitto_url} --root {root} | head -n 1"
    shown = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "nano-1" in shown.stdout
