"""How cameras share a worker, and how workers share the frames.

fairness   quiet cameras, and beside them one that sends as fast as it is answered
unequal    two workers, one four times slower than the other, on a broker that delivers in turn
"""

from __future__ import annotations

import concurrent.futures
from typing import Dict, Iterator, List, Sequence, Tuple

from bench.drive import Order
from bench.measure import Notify, Row, measure_for, shuffled_rounds
from bench.settings import BenchSettings
from bench.site import Driver, Site, Start, started
from bench.tiny import write_tiny
from bench.ways import fleet
from bench.weights import find_weights
from wire.errors import NanofleetError

#: The quiet cameras, and their frames a second together.
QUIET_CAMERAS, QUIET_RATE = 4, 8.0
#: Who floods: nobody; a camera of its own; or the same one. A camera's frames are taken in the order of
#: arrival: so would be all, if the worker did not know cameras apart.
FLOODS = ("no flood", "another camera floods", "the same camera floods")
#: How much longer than the quiet cameras' frames the flood would last, at the speed measured before.
SPARE = 1.5
#: Seconds that a frame takes the fast worker and the slow one.
FAST, SLOW = 0.005, 0.020
ARRANGEMENTS = ("the fast one alone", "the slow one alone", "both, dealt in turn", "both, stepping aside")


def fairness(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure the quiet cameras' latencies."""
    for number, flood in shuffled_rounds(FLOODS, settings.rounds, settings.seed):
        notify(f"fairness, round {number + 1} of {settings.rounds}: {flood}")
        common = {"experiment": "fairness", "round": number, "flood": flood}
        try:
            yield {**common, **_quiet_beside(flood, settings, number)}
        except NanofleetError as error:
            yield {**common, "error": str(error)}


def _quiet_beside(flood: str, settings: BenchSettings, number: int) -> Row:
    second: List[Driver] = []

    def start(site: Site) -> Sequence[str]:
        command = fleet()(site)
        second.append(Driver(command, site.folder / "flood.log"))
        return command

    size = settings.sizes[0]
    with started(start, find_weights(settings.models[0])) as quiet:
        # The flood is to last as long as the quiet cameras.
        rate = measure_for(quiet, settings.seconds, Order(0, size)).rate
        seconds = 10 * settings.seconds
        same = flood == FLOODS[2]
        flooding = concurrent.futures.ThreadPoolExecutor(1)
        order = Order(round(SPARE * rate * seconds), size, prefix="camera" if same else "flood")
        flooded = flooding.submit(second[0].run, order) if flood != FLOODS[0] else None
        outcome = quiet.run(
            Order(
                round(QUIET_RATE * seconds),
                size,
                rate=QUIET_RATE,
                seed=settings.seed + number,
                cameras=1 if same else QUIET_CAMERAS,
            )
        )
        if flooded is not None:
            if flooded.done():
                raise NanofleetError(f"{flood}: it ended before the quiet cameras had their answers")
            flooded.result()
    return {"latencies_ms": [round(milliseconds, 2) for milliseconds in outcome.latencies_ms]}


def unequal(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure what each arrangement of the two workers answers."""
    for number, arrangement in shuffled_rounds(ARRANGEMENTS, settings.rounds, settings.seed):
        notify(f"unequal, round {number + 1} of {settings.rounds}: {arrangement}")
        common = {"experiment": "unequal", "round": number, "arrangement": arrangement}
        try:
            with started(_workers(arrangement), find_weights(settings.models[0])) as driver:
                # Who is slow is known once it has had some frames.
                order = Order(0, "thumbnail", cameras=4)
                yield {**common, **measure_for(driver, 3 * settings.seconds, order).row()}
        except NanofleetError as error:
            yield {**common, "error": str(error)}


def _workers(arrangement: str) -> Start:
    alone: Dict[str, Tuple[float, ...]] = {ARRANGEMENTS[0]: (FAST,), ARRANGEMENTS[1]: (SLOW,)}
    aside = "0" if arrangement == ARRANGEMENTS[2] else "0.3"

    def start(site: Site) -> Sequence[str]:
        port = site.mosquitto()
        # A worker steps aside for another whose status has come since it connected.
        flags = [*write_tiny(site.folder / "tiny"), "--step-aside-after", aside, "--status-interval", "1"]
        for seconds in alone.get(arrangement, (FAST, SLOW)):
            site.workers(port, 1, *flags, module=("bench.slow_worker", str(seconds)))
        return ["bench.drivers.publisher", f"mqtt://127.0.0.1:{port}", "bench"]

    return start
