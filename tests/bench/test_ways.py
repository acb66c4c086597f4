"""Ways as they are measured: a real broker, real workers, real drivers, all of them gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict

import pytest

from bench.observer import ACTIVE, ARRANGEMENTS, OBSERVER_CPU, STANDBY, WITHOUT, WORKER_CPU
from tests.harness import need, wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mosquitto() -> str:
    return need("mosquitto")


def bench(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, **options
    )


def test_help_teaches() -> None:
    done = bench("--help")
    assert done.returncode == 0
    assert "python -m bench soak --minutes 10" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["througput"], "'througput'"),
        (["--ways", "triton"], "no way's name holds triton; there are limit A"),
        (["--sizes", "4k"], "known are 480p, 720p, 1080p, not 4k"),
        (["--models", ","], "name at least one"),
        (["--models", "nonsense"], "torchvision has no such model"),
        (["--out", "nowhere/results.json"], "there is no folder nowhere"),
    ],
)
def test_a_wrong_setting_is_named(arguments: list[str], complaint: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_of_nothing_says_so(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    done = bench("report", "--out", str(out))
    assert (done.returncode, done.stderr) == (
        1,
        f"{out}: there are no results yet; python -m bench makes some\n",
    )
    out.write_text("{")
    done = bench("report", "--out", str(out))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{out}: no results (")


def test_a_small_run_measures_what_it_says(mosquitto: str, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    flags = ("--ways", "limit B (processes),nanofleet (spool)", "--models", "squeezenet1_1")
    # Variables that set the bench are none of its workers'.
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "NANOFLEET_ROUNDS": "2"}
    done = bench("throughput", "latency", "--quick", *flags, "--out", str(out), env=env)
    assert done.returncode == 0, done.stderr + done.stdout
    results: Dict[str, Any] = json.loads(out.read_text())
    rows = {(row["experiment"], row["way"]): row for row in results["rows"]}
    fleet = rows["throughput", "nanofleet (spool)"]
    assert fleet["frames"] >= 64
    assert fleet["frames_per_second"] == pytest.approx(fleet["frames"] / fleet["seconds"])
    assert set(fleet["cpu_ms_per_frame_of"]) >= {"fleet", "worker.decode.process", "mosquitto"}
    assert fleet["cpu_ms_per_frame"] == pytest.approx(sum(fleet["cpu_ms_per_frame_of"].values()))
    assert fleet["peak_bytes"] > 100e6
    late = rows["latency", "limit B (processes)"]
    assert len(late["latencies_ms"]) == late["frames"]
    assert "| nanofleet (spool)" in done.stdout


def measured(start: str, frames: int) -> Dict[str, Any]:
    """What a driver says of some thumbnails; in a process of its own, which ends all that it has started."""
    program = f"""
import dataclasses, json
from bench import sharing, transport
from bench.drive import Order
from bench.site import started
from bench.weights import find_weights
with started({start}, find_weights("squeezenet1_1")) as driver:
    driver.run(Order(8, "thumbnail"))
    print(json.dumps(dataclasses.asdict(driver.run(Order({frames}, "thumbnail")))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    outcome: Dict[str, Any] = json.loads(done.stdout)
    return outcome


@pytest.mark.parametrize("name", ["mosquitto_sub, reads", "paho client, reads", "nanofleet, answers"])
def test_each_reader_of_the_transport_gets_every_frame(mosquitto: str, name: str) -> None:
    need("mosquitto_sub")
    outcome = measured(f"transport.READERS[{name!r}]", 100)
    assert outcome["answered"] == len(outcome["latencies_ms"]) == 100


def test_a_slow_worker_is_as_slow_as_it_says(mosquitto: str) -> None:
    outcome = measured("sharing._workers(sharing.ARRANGEMENTS[1])", 50)
    assert outcome["answered"] == 50
    assert outcome["seconds"] >= 50 * 0.020


#: Every arrangement with some thumbnails, and what its worker's threads took.
OBSERVERS = """
import json
from pathlib import Path
from bench.drive import Order
from bench.observer import ACTIVE, start_members
from bench.site import prepared
from bench.tiny import write_tiny
from bench.weights import Weights
with prepared(Weights("tiny", Path(), "")) as site:
    members = start_members(site, *write_tiny(site.folder / "tiny"))
    rows = {name: member.measured(Order(1000, "thumbnail", cameras=4)) for name, member in members.items()}
    for name, member in members.items():
        member.check(active=name == ACTIVE)
    print(json.dumps(rows))
"""


def test_only_the_worker_that_observes_spends_time_on_it(mosquitto: str) -> None:
    command = [sys.executable, "-c", OBSERVERS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    rows: Dict[str, Dict[str, float]] = json.loads(done.stdout)
    assert set(rows) == set(ARRANGEMENTS)
    assert all(row["frames"] == 1000 and row[WORKER_CPU] > row[OBSERVER_CPU] for row in rows.values())
    assert rows[WITHOUT][OBSERVER_CPU] == 0
    assert rows[ACTIVE][OBSERVER_CPU] > rows[STANDBY][OBSERVER_CPU]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
def test_what_was_started_ends_with_the_bench(mosquitto: str, tmp_path: Path, signum: int) -> None:
    flags = ("--quick", "--models", "squeezenet1_1", "--out", str(tmp_path / "results.json"))
    command = [sys.executable, "-m", "bench", "soak", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    started = wait_for(lambda: _below(process.pid, "worker.decode.process"), 120, "the soak's worker")
    process.send_signal(signum)
    time.sleep(0.3)
    process.send_signal(signum)  # an impatient user
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


def _below(ancestor: int, module: str) -> list[int]:
    """All descendants of a process, once one of them runs a module."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
    processes = [line.split(None, 2) for line in listed.stdout.splitlines()]
    family = {ancestor}
    for _ in processes:
        family |= {int(pid) for pid, parent, _ in processes if int(parent) in family}
    commands = [args for pid, _, args in processes if int(pid) in family]
    return sorted(family - {ancestor}) if any(module in args for args in commands) else []
