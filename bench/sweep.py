"""Every peer's best setting: each is tried for a moment, and what is fastest is what other experiments run.

rows of a sweep ──> best(way, model, size)
"""

from __future__ import annotations

import contextlib
from typing import Dict, Iterator, List, NamedTuple, Sequence

from bench.drive import Order
from bench.measure import FPS, Notify, Row, measure_for, rows_of, shuffled_rounds
from bench.settings import BenchSettings
from bench.site import Start, started
from bench.ways import WAYS, Way, cores, pipeline
from bench.weights import find_weights
from wire.errors import NanofleetError


class Try(NamedTuple):
    """A setting that is tried."""

    model: str
    way: Way
    setting: str
    start: Start


def sweep(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Try each setting of each way that has several, at each size of each model."""
    yield from _tried(settings, notify, all_tries(settings))


def untried(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """The same for settings that have no such rows yet: for experiments that need the best."""
    missing = [
        each for each in all_tries(settings) if not is_known(known, each, settings.sizes_of(each.model))
    ]
    yield from _tried(settings, notify, missing)


def is_known(known: Sequence[Row], each: Try, sizes: Sequence[str]) -> bool:
    """Whether there are rows of a setting at these sizes."""
    return all(each.setting in _rates(known, each.way.name, each.model, size) for size in sizes)


def all_tries(settings: BenchSettings) -> List[Try]:
    """All settings of the ways that are to be measured, with each model."""
    return [
        Try(model, way, setting, start)
        for model in settings.models
        for way in WAYS
        if settings.chosen(way.name)
        for setting, start in way.starts(cores()).items()
        if setting
    ]


def _tried(settings: BenchSettings, notify: Notify, tries: Sequence[Try]) -> Iterator[Row]:
    for model in dict.fromkeys(each.model for each in tries):
        notify(f"sweep: what has to be made once for {model}")
        # Its export, and what chooses its engine: while nothing else runs. Errors are those of the tries.
        with contextlib.suppress(NanofleetError), started(pipeline, find_weights(model)):
            pass
    for done, (_, each) in enumerate(shuffled_rounds(tries, 1, settings.seed)):
        notify(f"sweep, {done + 1} of {len(tries)}: {each.way.name}, {each.setting}, {each.model}")
        common = {"experiment": "sweep", "model": each.model, "way": each.way.name, "setting": each.setting}
        try:
            with started(each.start, find_weights(each.model)) as driver:
                for size in settings.sizes_of(each.model):
                    measured = measure_for(driver, settings.seconds, Order(0, size)).row()
                    yield {**common, "size": size, **measured}
        except NanofleetError as error:
            yield {**common, "error": str(error)}


def best(known: Sequence[Row], way: str, model: str, size: str) -> str:
    """The setting in which a way was fastest.

    Raises:
        NanofleetError: none of them ran.
    """
    rates = _rates(known, way, model, size)
    if not rates:
        raise NanofleetError(f"{way}: no setting ran with {model} at {size}; see the sweep's errors")
    return max(rates, key=rates.__getitem__)


def best_starts(known: Sequence[Row], way: Way, model: str, sizes: Sequence[str]) -> Dict[str, List[str]]:
    """A way's best settings, and the sizes that each is best at; one without a name if it has no choice."""
    if "" in way.starts(cores()):
        return {"": list(sizes)}
    found: Dict[str, List[str]] = {}
    for size in sizes:
        found.setdefault(best(known, way.name, model, size), []).append(size)
    return found


def _rates(known: Sequence[Row], way: str, model: str, size: str) -> Dict[str, float]:
    rows = rows_of(known, experiment="sweep", way=way, model=model, size=size)
    return {row["setting"]: row[FPS] for row in rows}
