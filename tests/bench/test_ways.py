"""Ways as they are measured: a real broker, real workers, real drivers, all of them gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict

import pytest

from bench.observer import ACTIVE, ARRANGEMENTS, OBSERVER_CPU, STANDBY, WITHOUT, WORKER_CPU
from bench.transport import ANSWERS, BARE
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
        (["compare"], "compare --against PATH_OF_A_CHECKOUT"),
        (["throughput", "--against", "."], "compare --against PATH_OF_A_CHECKOUT"),
        (
            ["compare", "--against", "nowhere"],
            "--against nowhere: not a checkout of nanofleet: no nowhere/bench",
        ),
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
    flags = ("--ways", "limit B,nanofleet (spool)", "--models", "squeezenet1_1")
    small = ("--sizes", "480p", "--seconds", "0.2")
    # Variables that set the bench are none of its workers'.
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "NANOFLEET_ROUNDS": "1"}
    done = bench("throughput", "latency", *small, *flags, "--out", str(out), env=env)
    assert done.returncode == 0, done.stderr + done.stdout
    results: Dict[str, Any] = json.loads(out.read_text())
    rows = {(row["experiment"], row["way"]): row for row in results["rows"]}
    fleet = rows["throughput", "nanofleet (spool)"]
    assert fleet["frames"] >= 64
    assert fleet["frames_per_second"] == pytest.approx(fleet["frames"] / fleet["seconds"])
    assert set(fleet["cpu_ms_per_frame_of"]) >= {"fleet", "worker.decode.process", "mosquitto"}
    assert fleet["cpu_ms_per_frame"] == pytest.approx(sum(fleet["cpu_ms_per_frame_of"].values()))
    assert fleet["peak_bytes"] > 100e6
    late = rows["latency", "limit B"]
    assert len(late["latencies_ms"]) == late["frames"]
    assert "| nanofleet (spool)" in done.stdout


#: Of what brings its model, or runs none.
NO_WEIGHTS = "Weights('tiny', Path(), '')"


def measured(start: str, frames: int, weights: str = NO_WEIGHTS) -> Dict[str, Any]:
    """What a driver says of some thumbnails; in a process of its own, which ends all that it has started."""
    program = f"""
import dataclasses, json
from pathlib import Path
from bench import sharing, transport, ways
from bench.drive import Order
from bench.site import started
from bench.weights import Weights, find_weights
with started({start}, {weights}) as driver:
    driver.run(Order(8, "thumbnail"))
    print(json.dumps(dataclasses.asdict(driver.run(Order({frames}, "thumbnail")))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    outcome: Dict[str, Any] = json.loads(done.stdout)
    return outcome


@pytest.mark.parametrize("name", ["mosquitto_sub, reads", "paho client, reads", ANSWERS, BARE])
def test_each_reader_of_the_transport_gets_every_frame(mosquitto: str, name: str) -> None:
    need("mosquitto_sub")
    outcome = measured(f"transport.READERS[{name!r}]", 100)
    assert outcome["answered"] == 100
    assert len(outcome["latencies_ms"]) == (0 if name == BARE else 100)


def test_the_tutorials_loops_share_an_order() -> None:
    start = "next(way for way in ways.WAYS if way.name == 'tutorial loops').starts(2)['']"
    outcome = measured(start, 11, "find_weights('squeezenet1_1')")
    assert outcome["answered"] == len(outcome["latencies_ms"]) == 11


#: How many batches a peer's engine would run at once, each on its share of the cores.
AT_ONCE = """
import os, sys
from pathlib import Path
from bench.peers.setting import Setting
threads = int(sys.argv[2])
os.environ.update(Setting(1, threads, 4).variables())
from bench.peers import fast
from bench.tiny import write_tiny
from wire.model_choice import ModelChoice
_, model, _, labels = write_tiny(Path(sys.argv[1]))
choice = ModelChoice(model=model, labels=labels)
fast.share_cores()
print(fast.open_model(choice, engine="auto", max_batch=4, weights_dir=Path(sys.argv[1]))[1].at_once)
"""


def test_a_peers_engine_has_the_threads_of_its_setting(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    for threads, at_once in {cores: 1, 1: cores}.items():
        command = [sys.executable, "-c", AT_ONCE, str(tmp_path), str(threads)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout == f"{at_once}\n", done.stderr


#: Frames of a checkout's publisher to a worker of the same one.
OTHER_CHECKOUT = """
import sys
from pathlib import Path
from bench.compare import start_fleet
from bench.drive import Order
from bench.site import prepared
from bench.tiny import write_tiny
from bench.weights import Weights
with prepared(Weights("", Path(), "")) as site:
    driver = start_fleet(site, Path(sys.argv[1]), *write_tiny(site.folder / "tiny"))
    print(driver.run(Order(20, "thumbnail")).answered)
"""
#: Appended to a package: notes which program has imported it.
NOTE = "print(__name__, open('/proc/self/cmdline').read().split('\\0')[2], file=open({!r}, 'a'))\n"


def test_a_checkout_that_is_compared_runs_its_own_worker_and_publisher(
    mosquitto: str, tmp_path: Path
) -> None:
    other, notes = tmp_path / "other", tmp_path / "notes"
    for package in ("bench", "fleet", "labels", "publisher", "wire", "worker"):
        shutil.copytree(ROOT / package, other / package, ignore=shutil.ignore_patterns("__pycache__"))
        with (other / package / "__init__.py").open("a") as code:
            code.write(NOTE.format(str(notes)))
    command = [sys.executable, "-c", OTHER_CHECKOUT, str(other)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "20\n"), done.stderr
    driver = "bench.drivers.publisher"
    mine = {"fleet fleet", "worker fleet", "worker worker.decode.process"}
    assert {*mine, f"bench {driver}", f"publisher {driver}", f"wire {driver}"} <= {
        *notes.read_text().splitlines()
    }


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
