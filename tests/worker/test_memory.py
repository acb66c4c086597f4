"""What memory a process may use, and can still have: on a machine, in a container, as a service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

from worker import control_groups, memory
from worker.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
CONTAINER = {"max": 400 * MIB, "current": 300 * MIB, "stat": f"anon 1\ninactive_file {50 * MIB}"}
Group = Callable[..., None]


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Group:
    """A machine with 3 GiB available and 1 GiB of swap; writes the files of its control groups of v2."""
    machine, own = tmp_path / "meminfo", tmp_path / "own"
    machine.write_text(f"MemTotal: {4 << 20} kB\nMemAvailable: {3 << 20} kB\nSwapFree: {1 << 20} kB\n")
    own.write_text("4:memory:/v1\n0::/system.slice/nanofleet.service\n")
    monkeypatch.setattr(control_groups, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "OWN_GROUPS", own)
    monkeypatch.setattr(memory, "MACHINE", machine)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1 << 20, "SC_PAGE_SIZE": 4096}.__getitem__)

    def write(path: str, **files: object) -> None:
        folder = tmp_path / "cgroup" / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / f"memory.{name.replace('_', '.')}").write_text(f"{content}\n")

    return write


def test_a_machine_without_limits(group: Group) -> None:
    assert (memory.total(), memory.free()) == (4096 * MIB, 4096 * MIB)
    group("system.slice/nanofleet.service", max="max", current=9, stat="anon 9")
    assert (memory.total(), memory.free()) == (4096 * MIB, 4096 * MIB)


def test_a_container_sees_itself_at_the_root(group: Group) -> None:
    group("", **CONTAINER)
    assert (memory.total(), memory.free()) == (400 * MIB, (150 + 1024) * MIB)


def test_a_container_may_have_little_swap_or_none(group: Group) -> None:
    group("", **CONTAINER, swap_max=30 * MIB, swap_current=10 * MIB)
    assert memory.free() == 170 * MIB
    group("", swap_max=0, swap_current=0)
    assert memory.free() == 150 * MIB


def test_the_narrowest_of_a_services_groups_counts(group: Group) -> None:
    group("system.slice/nanofleet.service", **{**CONTAINER, "max": 700 * MIB}, swap_max=0, swap_current=0)
    group("system.slice", **CONTAINER, swap_max=0, swap_current=0)
    assert (memory.total(), memory.free()) == (400 * MIB, 150 * MIB)


def test_a_group_that_has_more_than_its_limit_has_nothing_left(group: Group) -> None:
    group("", **{**CONTAINER, "max": MIB}, swap_max=0, swap_current=0)
    assert memory.free() == 0


def test_a_group_whose_statistics_cannot_be_read_keeps_its_limit(group: Group) -> None:
    group("", max=400 * MIB, current=300 * MIB)
    assert (memory.total(), memory.free()) == (400 * MIB, (100 + 1024) * MIB)
    group("", stat="not\nwhat\n\nwas 0x expected\n")
    assert (memory.total(), memory.free()) == (400 * MIB, (100 + 1024) * MIB)


def test_lines_that_say_nothing_are_passed_by(group: Group) -> None:
    group("", **{**CONTAINER, "stat": f"\nanon 1\n\ninactive_file {50 * MIB}\nfile\n"})
    memory.MACHINE.write_text("\n" + memory.MACHINE.read_text())
    assert memory.free() == (150 + 1024) * MIB


def test_what_slows_a_group_down_limits_it(group: Group) -> None:
    """As systemd's MemoryHigh= does."""
    group("", **{**CONTAINER, "max": "max"}, high=400 * MIB)
    assert (memory.total(), memory.free()) == (400 * MIB, (150 + 1024) * MIB)
    group("", max=350 * MIB)
    assert memory.total() == 350 * MIB


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_where_addresses_are_limited_nobody_knows_what_is_free(kind: str) -> None:
    script = f"""if True:
        import resource
        from worker import memory

        assert memory.free()
        resource.setrlimit(resource.{kind}, (1 << 32, 1 << 32))
        print(memory.free())
    """
    assert subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True) == "None\n"


# --- version 1, as Ubuntu 18.04 of a Jetson Nano has it -------------------------------------------------

UNLIMITED = (1 << 63) - 4096
#: What a process of a container sees in /proc/self/cgroup, where the host has both versions mounted.
HYBRID = "12:cpu,cpuacct:/docker/8f2\n9:memory:/docker/8f2\n0::/system.slice/docker.service\n"
SMALL = {
    "limit_in_bytes": 300 * MIB,
    "usage_in_bytes": 250 * MIB,
    "stat": f"active_file {1 * MIB}\ntotal_inactive_file {30 * MIB}\ntotal_active_file {20 * MIB}",
}


@pytest.fixture
def group_1(group: Group, tmp_path: Path) -> Group:
    """Writes the files of its control groups of version 1 instead; the names keep their underscores."""
    control_groups.OWN_GROUPS.write_text(HYBRID)

    def write(path: str, **files: object) -> None:
        folder = tmp_path / "cgroup" / "memory" / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / f"memory.{name}").write_text(f"{content}\n")

    group("unified/system.slice/docker.service")  # version 2, without a controller
    return write


@pytest.mark.parametrize("path", ["", "docker/8f2"], ids=["in the container", "from the host"])
def test_a_container_of_version_1(group_1: Group, path: str) -> None:
    group_1("", limit_in_bytes=UNLIMITED, usage_in_bytes=MIB, stat="total_active_file 1")
    group_1(path, **SMALL)
    assert (memory.total(), memory.free()) == (300 * MIB, (100 + 1024) * MIB), "this kernel counts no swap"


def test_version_1_counts_memory_and_swap_together(group_1: Group) -> None:
    """Docker lets a container have as much swap as memory, unless it is set otherwise."""
    files = {"memsw.limit_in_bytes": 600 * MIB, "memsw.usage_in_bytes": 260 * MIB}
    group_1("docker/8f2", **SMALL, **files)
    assert memory.free() == (100 + 290) * MIB
    group_1("docker/8f2", **{"memsw.limit_in_bytes": 300 * MIB})
    assert memory.free() == 100 * MIB


def test_a_machine_of_version_1_without_limits(group_1: Group) -> None:
    files = {"memsw.limit_in_bytes": UNLIMITED, "memsw.usage_in_bytes": 2 * MIB}
    group_1("", limit_in_bytes=UNLIMITED, usage_in_bytes=MIB, stat="total_active_file 1", **files)
    assert (memory.total(), memory.free()) == (4096 * MIB, 4096 * MIB)


def test_the_narrowest_of_both_versions_counts(group: Group, group_1: Group) -> None:
    group("system.slice/docker.service", **{**CONTAINER, "max": 200 * MIB, "current": 150 * MIB})
    group_1("docker/8f2", **SMALL)
    assert memory.total() == 200 * MIB


def test_a_container_of_version_1_gives_its_decoders_what_it_has(group_1: Group) -> None:
    group_1("", **{**SMALL, "limit_in_bytes": 2048 * MIB})
    settings = WorkerSettings.from_command_line("nanofleet worker", ["--decoders", "4"])
    assert settings.decoder_bytes == 256 * MIB


def test_where_nobody_tells_what_is_free_it_is_unknown(
    group: Group, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(control_groups, "OWN_GROUPS", tmp_path / "none")
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "none")
    assert (memory.total(), memory.free()) == (4096 * MIB, None)


def test_this_machine_tells(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert memory.free()
    assert memory.total() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
