"""What a worker tells Prometheus, read by a real Prometheus."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Tuple

import pytest

from tests.fleets import Fleet
from tests.harness import WorkerProcess, need, wait_for
from tests.metrics import metric
from tests.ports import free_port
from tests.tiny import TINY, TINY_NAME, tiny_model
from wire.messages import Reason


def get(url: str) -> Tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def busy_worker(
    photos: Path,
    fleet: Fleet,
) -> WorkerProcess:
    """A worker that has answered three frames and rejected one."""
    worker = fleet.worker()
    listener = fleet.listen("results/+", "rejects/+")
    for payload in [(photos / "rocket.jpg").read_bytes()] * 3 + [b"text"]:
        fleet.send("door", payload)
    wait_for(lambda: len(listener.messages) == 4, what="4 answers")
    return worker


@pytest.fixture
def prometheus(tmp_path: Path, busy_worker: WorkerProcess) -> Iterator[Callable[[str], Dict[str, Any]]]:
    """A real Prometheus that scrapes the worker; called with an expression, it answers."""
    config, port = tmp_path / "prometheus.yml", free_port()
    target = f"127.0.0.1:{busy_worker.metrics_port}"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: nanofleet, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    with (tmp_path / "prometheus.log").open("wb") as log, subprocess.Popen(
        [
            need("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=log,
        stderr=log,
    ) as process:

        def query(expression: str) -> Dict[str, Any]:
            try:
                status, text = get(
                    f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(expression)}"
                )
            except urllib.error.URLError:
                return {}  # still starting
            found = json.loads(text)["data"]["result"] if status == 200 else []
            return {str(row["metric"]): float(row["value"][1]) for row in found}

        yield query
        process.terminate()


def test_prometheus_scrapes_the_worker(prometheus: Callable[[str], Dict[str, Any]]) -> None:
    # A frame counts once its answer is acked: a scrape may have come between the third and the rejection.
    done = "sum(nanofleet_frames_total)"
    wait_for(lambda: 4.0 in prometheus(done).values(), 60, what="3 answers and a rejection in Prometheus")
    assert list(prometheus('nanofleet_frames_total{outcome="answered"}').values()) == [3.0]
    assert list(prometheus('nanofleet_frames_total{reason="not_an_image"}').values()) == [1.0]
    assert len(prometheus("nanofleet_frames_total")) == 1 + len(Reason)
    assert sum(prometheus('nanofleet_stage_seconds_count{stage="inference"}').values()) == 3
    assert sum(prometheus('nanofleet_stage_seconds_count{stage="total"}').values()) == 4
    assert list(prometheus("nanofleet_broker_connected").values()) == [1.0]
    assert list(prometheus("nanofleet_frames_in_hand").values()) == [0.0]
    (info,) = prometheus("nanofleet_model_info")
    assert TINY in info
    joined = "nanofleet_frames_in_hand * on (job, instance) group_left (worker, group) nanofleet_worker_info"
    (whose,) = prometheus(joined)
    assert "'worker': 'test-" in whose
    assert "'group': 'workers'" in whose


def test_promtool_has_no_complaint(busy_worker: WorkerProcess) -> None:
    status, text = get(f"http://127.0.0.1:{busy_worker.metrics_port}/metrics")
    assert status == 200
    checked = subprocess.run(
        [need("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_probes(busy_worker: WorkerProcess) -> None:
    page = f"http://127.0.0.1:{busy_worker.metrics_port}"
    assert get(f"{page}/healthz") == (200, "ok\n")
    assert get(f"{page}/readyz") == (200, "ok\n")
    assert get(f"{page}/elsewhere")[0] == 404


def test_not_ready_while_the_broker_is_away(fleet: Fleet) -> None:
    worker = fleet.at(f"mqtt://127.0.0.1:{free_port()}").worker(wait=False)
    worker.wait_said("cannot reach")
    page = f"http://127.0.0.1:{worker.metrics_port}"
    assert get(f"{page}/readyz")[0] == 503
    assert get(f"{page}/healthz")[0] == 200
    assert metric(worker, "nanofleet_model_info") == 1, "while it waits for a command, and loads"
    wait_for(lambda: f'model="{TINY_NAME}"' in get(f"{page}/metrics")[1], what="its model in the metrics")
    assert metric(worker, "nanofleet_broker_connected") == 0
    assert worker.stop() == 0


def test_port_in_use_is_said(mosquitto_url: str, busy_worker: WorkerProcess, tmp_path: Path) -> None:
    port = str(busy_worker.metrics_port)
    other = WorkerProcess(tmp_path, mosquitto_url, "other", "other", *tiny_model(), "--metrics-port", port)
    assert other.process.wait(60) == 1, "a supervisor may find the port free at the next try"
    assert other.said(f"--metrics-port: cannot listen on 127.0.0.1, port {port}")
