"""python -m bench: see `bench.settings`."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import signal
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence

from rich.console import Console

from bench.cuda import cuda
from bench.engines import engines
from bench.growth import growth
from bench.latency import latency
from bench.measure import Notify, Row, quick
from bench.memory import sizes_and_memory
from bench.observer import observer
from bench.processes import ENDS, adopt_orphans
from bench.report import renew, show
from bench.settings import BenchSettings, Experiment
from bench.sharing import fairness, unequal
from bench.soak import soak
from bench.throughput import throughput
from bench.transport import transport
from bench.weights import find_weights
from wire.errors import NanofleetError, SettingsError

EXPERIMENTS: Dict[Experiment, Callable[[BenchSettings, Notify, Sequence[Row]], Iterator[Row]]] = {
    "throughput": throughput,
    "latency": latency,
    "growth": growth,
    "transport": transport,
    "fairness": fairness,
    "unequal": unequal,
    "observer": observer,
    "engines": engines,
    "cuda": cuda,
    "memory": sizes_and_memory,
    "soak": soak,
}
_PACKAGES = (
    "torch",
    "torchvision",
    "onnxruntime",
    "numpy",
    "pillow",
    "paho-mqtt",
    "litserve",
    "mosec",
    "ray",
)


def main() -> int:
    """Measure, write, show; returns the exit code."""
    try:
        settings = BenchSettings.from_command_line("python -m bench", sys.argv[1:])
        return bench(quick(settings) if settings.quick else settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except NanofleetError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        for signum in ENDS:  # all is over: a second one must not change the exit code
            signal.signal(signum, signal.SIG_IGN)
        print("stopped; what was measured is in the results", file=sys.stderr)
        return 130


def bench(settings: BenchSettings) -> int:
    """Run the experiments. Each one's rows are on disk as soon as they are known."""
    results = _read(settings.out)
    if settings.experiments == ["report"] and not results["rows"]:
        raise NanofleetError(f"{settings.out}: there are no results yet; python -m bench makes some")
    if settings.experiments != ["report"]:
        for signum in ENDS:  # what was started is ended either way
            signal.signal(signum, signal.default_int_handler)
        adopt_orphans()
        if settings.cores:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: settings.cores])
        results = renewed(results, about(settings), settings.experiments)
        rows: List[Row] = results["rows"]
        for row in _measure(settings, rows):
            rows.append(row)
            _write(settings.out, results)
    show(results)
    if settings.plots:
        from bench.plots import draw

        for path in draw(results, settings.plots):
            print(f"wrote {path}", file=sys.stderr)
        page = settings.plots / "benchmarks.md"
        if page.exists():
            renew(page, results)
            print(f"renewed the tables in {page}", file=sys.stderr)
    return 1 if any("error" in row for row in results["rows"]) else 0


def renewed(former: Dict[str, Any], now: Dict[str, Any], experiments: Sequence[str]) -> Dict[str, Any]:
    """Results to begin with: those of a former run on the same machine, of other experiments."""
    before = former["about"]
    known = before.get("weights", {})
    weights = {**known, **now["weights"]}
    same = all(before.get(key) == now[key] for key in now if key not in ("settings", "weights"))
    same = same and {**weights, **known} == weights  # no model that both runs had has other ones
    if former["rows"] and not same:
        print("former results are of another machine, or of other versions: they go", file=sys.stderr)
    kept = [row for row in former["rows"] if same and row["experiment"] not in experiments]
    return {"about": {**now, "weights": weights if same else now["weights"]}, "rows": kept}


def _measure(settings: BenchSettings, known: Sequence[Row]) -> Iterator[Row]:
    with Console(stderr=True).status("starting") as status:
        for name in settings.experiments:
            if name != "report":
                yield from EXPERIMENTS[name](settings, status.update, known)


def about(settings: BenchSettings) -> Dict[str, Any]:
    """The machine, the versions, the settings, and whose weights were run."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "weights": {name: find_weights(name).origin for name in settings.models},
        "settings": settings.model_dump(mode="json"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _read(path: Path) -> Dict[str, Any]:
    if not path.exists():
        return {"about": {}, "rows": []}
    try:
        results: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NanofleetError(f"{path}: no results ({error}); remove it, or name another --out") from None
    return results


def _write(path: Path, results: Dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(results) + "\n", encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
