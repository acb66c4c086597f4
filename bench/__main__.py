"""python -m bench: see `bench.settings`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence

from rich.console import Console

from bench.about import about, renewed
from bench.compare import compare
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
from bench.sweep import sweep
from bench.throughput import throughput
from bench.transport import transport
from wire.errors import NanofleetError, SettingsError

EXPERIMENTS: Dict[Experiment, Callable[[BenchSettings, Notify, Sequence[Row]], Iterator[Row]]] = {
    "sweep": sweep,
    "throughput": throughput,
    "latency": latency,
    "growth": growth,
    "transport": transport,
    "fairness": fairness,
    "unequal": unequal,
    "observer": observer,
    "compare": compare,
    "engines": engines,
    "cuda": cuda,
    "memory": sizes_and_memory,
    "soak": soak,
}


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


def _measure(settings: BenchSettings, known: Sequence[Row]) -> Iterator[Row]:
    with Console(stderr=True).status("starting") as status:
        for name in settings.experiments:
            if name != "report":
                yield from EXPERIMENTS[name](settings, status.update, known)


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
