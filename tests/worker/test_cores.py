"""How many processors a worker counts on a machine, in a container, as a service; what follows from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest

from worker import control_groups, cores, memory
from worker.settings import WorkerSettings

Write = Callable[[str, str], None]


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Write:
    """A machine of 64 processors; writes the files of its control groups."""
    own = tmp_path / "own"
    own.write_text("4:cpu,cpuacct:/docker/8f2\n0::/system.slice/nanofleet.service\n")
    monkeypatch.setattr(control_groups, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "OWN_GROUPS", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))

    def write(path: str, content: str) -> None:
        file = tmp_path / "cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")

    return write


def test_a_machine_without_limits(write: Write) -> None:
    assert cores.available() == 64
    write("system.slice/nanofleet.service/cpu.max", "max 100000")
    write("cpu/cpu.cfs_quota_us", "-1")
    write("cpu/cpu.cfs_period_us", "100000")
    assert cores.available() == 64


@pytest.mark.parametrize(
    ("limit", "expected"), [("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1)]
)
def test_a_container_sees_itself_at_the_root(write: Write, limit: str, expected: int) -> None:
    write("cpu.max", limit)
    assert cores.available() == expected


def test_the_narrowest_of_a_services_groups_counts(write: Write) -> None:
    write("system.slice/nanofleet.service/cpu.max", "800000 100000")
    write("system.slice/cpu.max", "200000 50000")
    assert cores.available() == 4


@pytest.mark.parametrize("path", ["cpu", "cpu/docker/8f2"], ids=["in the container", "from the host"])
def test_a_container_of_version_1(write: Write, path: str) -> None:
    write(f"{path}/cpu.cfs_quota_us", "300000")
    write(f"{path}/cpu.cfs_period_us", "100000")
    assert cores.available() == 3


@pytest.mark.parametrize("said", ["", "max", "a b", "100000 0", "1 2 3"])
def test_what_cannot_be_read_is_no_limit(write: Write, said: str) -> None:
    write("cpu.max", said)
    write("cpu/cpu.cfs_quota_us", said)
    assert cores.available() == 64


def test_processors_that_it_may_not_run_on_do_not_count(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
    write("cpu.max", "800000 100000")
    assert cores.available() == 2


def test_this_machine() -> None:
    assert 1 <= cores.available() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("machine", "gibibytes", "decoders", "window", "batches"),
    [
        (1, 1, 2, 32, 2),
        (2, 8, 3, 32, 2),
        (3, 8, 4, 32, 2),
        (4, 4, 4, 32, 2),
        (7, 64, 4, 32, 2),
        (8, 64, 5, 40, 2),
        (9, 64, 6, 48, 3),
        (16, 64, 13, 96, 4),
        (64, 256, 61, 96, 16),
        (128, 256, 64, 96, 32),
        (64, 4, 10, 33, 16),
        (64, 1, 4, 32, 16),
    ],
)
def test_decoders_window_and_batches_follow_the_machine(
    monkeypatch: pytest.MonkeyPatch, machine: int, gibibytes: int, decoders: int, window: int, batches: int
) -> None:
    monkeypatch.setattr(cores, "available", lambda: machine)
    monkeypatch.setattr(memory, "total", lambda: gibibytes << 30)
    settings = WorkerSettings.from_command_line("nanofleet worker", ["--max-batch", "4"])
    assert (settings.decoder_count, settings.receive_maximum) == (decoders, window)
    assert cores.batches() == batches
    assert settings.at_work == min(window, 4 * (batches + 1) + decoders)
    assert decoders * settings.decoder_bytes <= max(gibibytes << 29, 4 * (192 << 20))


def test_who_asks_for_a_number_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "available", lambda: 64)
    settings = WorkerSettings.from_command_line("nanofleet worker", ["--decoders", "2", "--window", "5"])
    assert (settings.decoder_count, settings.receive_maximum) == (2, 5)
