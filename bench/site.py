"""Where a way runs: its servers, its broker, its driver; all gone when the block ends.

with started(way, weights) as driver:
    driver.measure(Order(frames=100))
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from bench.checkouts import ROOT, of_tree
from bench.drive import Order, Outcome
from bench.gpu import GpuUse
from bench.processes import (
    PeakMemory,
    Process,
    cpu_seconds,
    listens,
    nothing_left,
    spent_since,
)
from bench.weights import Weights
from fleet.ports import free_port
from wire.errors import NanofleetError


@dataclass
class Measurement:
    """An outcome, and what it cost: CPU of all processes, their memory at its highest."""

    outcome: Outcome
    cpu_seconds: Dict[str, float]
    peak_bytes: int
    gpu: Dict[str, float]

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.outcome.answered / self.outcome.seconds

    def row(self) -> Dict[str, Any]:
        """For results.json; latencies are the caller's business."""
        frames = self.outcome.answered
        return {
            "frames": frames,
            "seconds": self.outcome.seconds,
            "frames_per_second": self.rate,
            "cpu_ms_per_frame": 1000 * sum(self.cpu_seconds.values()) / frames,
            "cpu_ms_per_frame_of": {name: 1000 * spent / frames for name, spent in self.cpu_seconds.items()},
            "peak_bytes": self.peak_bytes,
            **self.gpu,
            **self.outcome.notes,
        }


class Driver:
    """The bench's side of a driver: see `bench.drive`."""

    def __init__(self, command: Sequence[str], log: Path, tree: Path = ROOT) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                **of_tree(tree),
            )
        self._receive()

    def run(self, order: Order) -> Outcome:
        """Have an order's frames classified."""
        assert self._process.stdin
        print(json.dumps(asdict(order)), file=self._process.stdin, flush=True)
        return Outcome(**self._receive())

    def measure(self, order: Order) -> Measurement:
        """The same, with what it costs."""
        with PeakMemory() as memory, GpuUse() as gpu:
            before = cpu_seconds()
            outcome = self.run(order)
            spent = spent_since(before)
        return Measurement(outcome, spent, memory.bytes, gpu.means())

    def close(self) -> None:
        """Close the pipes of a driver that has ended, or end it so."""
        with self._process:
            pass

    def _receive(self) -> Dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise NanofleetError(f"a driver ended:\n{self._log.read_text(errors='replace')[-2000:]}")
        reply: Dict[str, Any] = json.loads(line)
        return reply


class Site:
    """Starts what a way needs. Its processes end with `started`."""

    def __init__(self, weights: Weights, folder: Path) -> None:
        self.weights = weights
        self.folder = folder
        self.servers: List[Process] = []

    @property
    def model(self) -> List[str]:
        """The model and its folder, as drivers and servers take them."""
        return [self.weights.model, str(self.weights.folder)]

    def serve(
        self,
        command: Sequence[str],
        ready: Callable[[Process], bool],
        variables: Optional[Dict[str, str]] = None,
    ) -> Process:
        """Start a server, and wait until it is ready."""
        server = Process(command, self.folder, variables)
        self.servers.append(server)
        server.wait_until(lambda: ready(server))
        return server

    def python(self, *command: object) -> List[str]:
        """A command that runs one of the bench's modules, or nanofleet's."""
        return [sys.executable, "-m", *map(str, command)]

    def mosquitto(self) -> int:
        """A Mosquitto with the settings that deploy/mosquitto recommends, and its port."""
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise NanofleetError("mosquitto is not installed (Debian: apt-get install mosquitto)")
        port, data = free_port(), self.folder / "mosquitto"
        data.mkdir()
        if os.geteuid() == 0:  # Mosquitto leaves root behind
            shutil.chown(data, "mosquitto")
        shipped = (ROOT / "deploy" / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8")
        settings = re.sub(r"(?m)^listener .*", f"listener {port} 127.0.0.1", shipped)
        settings = re.sub(r"(?m)^persistence_location .*", f"persistence_location {data}/", settings)
        config = self.folder / "mosquitto.conf"
        config.write_text(settings, encoding="utf-8")
        self.serve([program, "-c", str(config)], lambda server: listens(port))
        return port

    def workers(
        self,
        port: int,
        count: int,
        *flags: object,
        module: Sequence[str] = ("fleet",),
        root: str = "bench",
        tree: Path = ROOT,
    ) -> List[Process]:
        """Start workers of nanofleet's together, by a module that runs nanofleet's command in a checkout."""
        fresh = []
        for number in range(len(self.servers), len(self.servers) + count):
            command = self.python(*module, "worker", "--broker", f"mqtt://127.0.0.1:{port}")
            command += ["--root", root, "--worker-id", f"worker-{number}", "--metrics-port", "0"]
            command += ["--state-dir", str(self.folder / "state"), *map(str, flags)]
            fresh.append(Process(command, self.folder, tree=tree))
        for worker in fresh:
            worker.wait_until(lambda worker=worker: "connected to" in worker.output())  # type: ignore[misc]
        self.servers += fresh
        return fresh


#: Starts what a way needs, and returns the driver's module and arguments.
Start = Callable[[Site], Sequence[str]]


def answers_at(url: str) -> Callable[[Process], bool]:
    """Whether a server answers there with success."""

    def ready(server: Process) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1) as response:
            return bool(response.status == 200)
        return False

    return ready


def prints(text: str) -> Callable[[Process], bool]:
    """Whether a server has printed something."""
    return lambda server: text in server.output()


@contextlib.contextmanager
def prepared(weights: Weights) -> Iterator[Site]:
    """A site with nothing on it yet."""
    with tempfile.TemporaryDirectory(prefix="nanofleet-bench-") as folder:
        Path(folder).chmod(0o755)  # its subfolders have other owners
        site = Site(weights, Path(folder))
        with nothing_left():
            yield site
        for server in site.servers:
            server.process.wait()


@contextlib.contextmanager
def started(start: Start, weights: Weights) -> Iterator[Driver]:
    """Start a way's servers and its driver, whose command `start` returns."""
    with prepared(weights) as site:
        yield Driver(start(site), site.folder / "driver.log")
