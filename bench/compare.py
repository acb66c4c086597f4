"""This checkout beside another one: what a change did to speed.

publisher ──> Mosquitto ──> a worker      all of this checkout
publisher ──> Mosquitto ──> a worker      all of the other one; both are there, and take turns
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Dict, Iterator, Sequence

from bench.checkouts import ROOT, commit_of
from bench.drive import Order
from bench.measure import Notify, Row, measure_for, shuffled_rounds
from bench.settings import BenchSettings
from bench.site import Driver, Site, prepared
from bench.weights import Weights, find_weights
from wire.errors import NanofleetError, SettingsError

THIS, OTHER = "this", "other"
#: Turns of each checkout in a round, with the same processes: a machine's speed changes within seconds.
TURNS = 4


def compare(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure both checkouts with each model, and with the first model at each size.

    Raises:
        SettingsError: the other one is no checkout.
    """
    assert settings.against  # see BenchSettings
    driver = settings.against / "bench" / "drivers" / "publisher.py"
    if not driver.exists():
        raise SettingsError(f"--against {settings.against}: not a checkout of nanofleet: no {driver}")
    trees = {THIS: ROOT, OTHER: settings.against.resolve()}
    with tempfile.TemporaryDirectory(prefix="nanofleet-bench-") as folder:
        for number in range(settings.rounds):
            for model in settings.models:
                notify(f"compare, round {number + 1} of {settings.rounds}: {model}")
                common = {"experiment": "compare", "round": number, "model": model}
                weights = {name: _own(find_weights(model), Path(folder) / name) for name in trees}
                try:
                    for row in _round(trees, weights, settings.sizes_of(model), settings, number):
                        yield {**common, **row}
                except NanofleetError as error:
                    yield {**common, "error": str(error)}


def _own(weights: Weights, folder: Path) -> Weights:
    """The same weights in a checkout's own folder, so that none runs what the other one has exported."""
    folder.mkdir(exist_ok=True)
    for file in weights.folder.glob("*.pth"):
        with contextlib.suppress(FileExistsError):
            (folder / file.name).symlink_to(file)
    return weights._replace(folder=folder)


def _round(
    trees: Dict[str, Path],
    weights: Dict[str, Weights],
    sizes: Sequence[str],
    settings: BenchSettings,
    number: int,
) -> Iterator[Row]:
    with contextlib.ExitStack() as stack:
        drivers = {
            name: _start(stack.enter_context(prepared(weights[name])), tree) for name, tree in trees.items()
        }
        for size in sizes:
            for turn, name in shuffled_rounds(list(trees), TURNS, settings.seed + number):
                measured = measure_for(drivers[name], settings.seconds, Order(0, size)).row()
                common = {"size": size, "turn": turn, "tree": name, "commit": commit_of(trees[name])}
                yield {**common, **measured}


def _start(site: Site, tree: Path) -> Driver:
    model, folder = site.model
    return start_fleet(site, tree, "--model", model, "--weights-dir", folder)


def start_fleet(site: Site, tree: Path, *model: str) -> Driver:
    """Start a broker, and a worker and a publisher of a checkout, with the worker's flags for its model."""
    port = site.mosquitto()
    site.workers(port, 1, *model, tree=tree)
    command = ["bench.drivers.publisher", f"mqtt://127.0.0.1:{port}", "bench"]
    return Driver(command, site.folder / "driver.log", tree)
