"""`nanofleet workers forget`: who is removed, and who stays."""

from __future__ import annotations

from datetime import timedelta
from typing import List

import pytest

from fleet.workers.settings import ForgetSettings
from tests.fleet.workers.output import DAY, Report, Run
from tests.fleets import Fleet
from tests.harness import Listener, wait_for
from wire.errors import SettingsError


def kept(listener: Listener, root: str, fleet: Fleet) -> List[str]:
    """The workers of whom the broker keeps a status, or a claim on their session."""
    fleet.listen("workers/#")
    fresh = fleet.listen("workers/#", "last")
    listener.publish(f"{root}/last", b"-")
    wait_for(lambda: fresh.on(f"{root}/last"), what="the last message")
    return sorted({m.topic.split("/workers/")[1].split("/")[0] for m in fresh.on(f"{root}/workers/")})


def test_forget_by_name(
    report: Report,
    workers: Run,
    listener: Listener,
    mosquitto_url: str,
    root: str,
    fleet: Fleet,
) -> None:
    report("nano-1")
    report("nano-2", state="draining")
    report("nano-3", state="offline")
    report("nano-4", state="lost")
    report("nano-5", age=DAY, lease_seconds=2)
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
    report: Report,
    claim: Report,
    workers: Run,
    listener: Listener,
    mosquitto_url: str,
    root: str,
    fleet: Fleet,
) -> None:
    report("nano-1")
    report("nano-2", state="offline", age=8 * DAY)
    report("nano-3", state="lost", age=8 * DAY)
    claim("nano-3", "nano-1", age=6 * DAY)
    report("nano-4", age=8 * DAY, lease_seconds=2)
    # Its will was written when it started: it may have died a moment ago.
    report("nano-5", state="lost", age=8 * DAY)
    # One that is being adopted says since when.
    report("nano-6", state="lost", age=9 * DAY)
    claim("nano-6", "nano-1", "draining", age=8 * DAY)
    # It left before its clock was set, and that may have been a moment ago.
    report("nano-7", state="offline", age=56 * 365 * DAY)
    forgotten = workers("forget", "--gone", "7d")
    assert (forgotten.returncode, forgotten.stderr) == (0, "")
    said = forgotten.stdout.splitlines()
    assert [line.split(":")[0] for line in said if "forgotten" in line] == ["nano-2", "nano-4", "nano-6"]
    assert "nano-5: kept; it was lost at some time within 8 d" in said[-2]
    assert "nano-7: kept; its clock is wrong" in said[-1]
    assert kept(listener, root, fleet) == ["nano-1", "nano-3", "nano-5", "nano-7"]


def test_silence_is_not_judged_in_less_time_than_a_lease(report: Report, workers: Run) -> None:
    report("nano-1", age=DAY, lease_seconds=60)
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
