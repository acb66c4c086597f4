"""What a worker takes: on disk by the extra it is installed with, and of memory by what runs its model.

start  until it takes frames: the most memory, with the processes that export or try a model, and CPU seconds
rest   with nothing to do                    load  with all the 1080p that it can take: the most memory
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from bench.drive import Order
from bench.measure import Notify, Row, measure_for, shuffled_rounds
from bench.processes import PeakMemory, cpu_seconds, memory, spent_since
from bench.settings import BenchSettings
from bench.site import Site, Start, started
from bench.sizes import installed_bytes
from bench.weights import find_weights
from wire.errors import NanofleetError
from wire.settings import child_environment

EXTRAS = ("onnx", "worker")
#: Seconds after which a worker with nothing to do rests.
REST = 3.0
#: Seconds between two looks at a start, which is short.
OFTEN = 0.1

#: What a worker is started with, by what tables call it; a folder of its own has no exports.
Flags = Callable[[Site], List[object]]


def _exported(site: Site) -> List[object]:
    file = site.folder / "model.onnx"
    model, folder = site.model
    command = site.python("fleet", "models", "export", model, file, "--weights-dir", folder)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment())
    if done.returncode:
        raise NanofleetError(done.stderr)
    return ["--model", file]


def _first(site: Site) -> List[object]:
    fresh = site.folder / "weights"
    fresh.mkdir()
    for weights in Path(site.model[1]).glob("*.pth"):
        (fresh / weights.name).symlink_to(weights)
    return ["--model", site.model[0], "--weights-dir", fresh, "--engine", "onnxruntime"]


def _engine(name: str) -> Flags:
    return lambda site: ["--model", site.model[0], "--weights-dir", site.model[1], "--engine", name]


ARRANGEMENTS: Dict[str, Flags] = {
    "a file of models export": _exported,
    "its export at hand": _engine("onnxruntime"),
    "its export made first": _first,
    "PyTorch": _engine("torch"),
}


def sizes_and_memory(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure each arrangement with the first model."""
    for extra in EXTRAS:
        try:
            yield {"experiment": "memory", "extra": extra, "bytes": installed_bytes(extra)}
        except importlib.metadata.PackageNotFoundError as error:
            yield {"experiment": "memory", "extra": extra, "error": f"{error.name} is not installed"}
    for number, name in shuffled_rounds(list(ARRANGEMENTS), settings.rounds, settings.seed):
        notify(f"memory, round {number + 1} of {settings.rounds}: {name}")
        row: Row = {"experiment": "memory", "round": number, "arrangement": name}
        try:
            with started(_timed(ARRANGEMENTS[name], row), find_weights(settings.models[0])) as driver:
                time.sleep(REST)
                row["rest_bytes"] = _of_worker()
                with PeakMemory(_of_worker) as load:
                    row["load"] = measure_for(driver, settings.seconds, Order(0, "1080p")).row()
                yield {**row, "load_bytes": load.bytes}
        except NanofleetError as error:
            yield {**row, "error": str(error)}


def _timed(flags: Flags, row: Dict[str, Any]) -> Start:
    def start(site: Site) -> Sequence[str]:
        port, given = site.mosquitto(), flags(site)
        before = cpu_seconds()
        with PeakMemory(_of_worker, OFTEN) as peak:
            site.workers(port, 1, *given)
            row["start_cpu_seconds"] = sum(spent_since(before).values())
        row["start_bytes"] = peak.bytes
        return ["bench.drivers.publisher", f"mqtt://127.0.0.1:{port}", "bench"]

    return start


def _of_worker() -> int:
    """Bytes of the worker, its decoders, and what exports or tries its model; not of broker and driver."""
    others: Tuple[str, ...] = ("mosquitto", "bench.drivers.publisher")
    return sum(found for name, found in memory().items() if name not in others)
