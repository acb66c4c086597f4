"""What observing costs a worker: with the active observer in it, without one, and while another is active.

              ┌─> a worker that does not observe
publishers ───┼─> a worker that observes                         all are there; one at a time has frames
              └─> a worker that stands by, beside `nanofleet observe`
"""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, Iterator, NamedTuple, Sequence

from bench.drive import Order
from bench.measure import FPS, Notify, Row, frames_for, rows_of, shuffled_rounds, spread, warmed_up
from bench.processes import Process
from bench.settings import BenchSettings
from bench.site import Driver, Site, prepared, prints
from bench.threads import OBSERVER, spent_by_thread
from bench.weights import find_weights
from wire.errors import NanofleetError

WITHOUT, ACTIVE, STANDBY = "does not observe", "observes", "stands by: another observes"
ARRANGEMENTS = (WITHOUT, ACTIVE, STANDBY)
#: Turns of each arrangement in a round, with the same processes: a machine's speed changes within seconds.
TURNS = 4
CAMERAS = 4
FULL, FIXED = "full", "fixed"
#: Frames a second beside the full load; less, where that is more than this part of what the slowest can do.
RATE, PART = 250.0, 0.8
#: Milliseconds a frame: of the worker's process, without its decoders; and of the observer's threads in it.
WORKER_CPU, OBSERVER_CPU = "worker_cpu_ms_per_frame", "observer_cpu_ms_per_frame"
#: The part of its throughput that a worker is to keep when it observes.
TARGET = 0.98
#: What an observer says when it has become the active one, and when it is that no more.
_BEGINS, _STOPS = "observing the cameras of", "no longer observing"


class Member(NamedTuple):
    """A worker, and what sends it frames."""

    worker: Process
    driver: Driver

    def measured(self, order: Order) -> Row:
        """What an order takes, with the CPU of the worker's process, and of the observer's threads in it."""
        with spent_by_thread(self.worker.process.pid) as spent:
            row = self.driver.measure(order).row()
        per_frame = 1000 / row["frames"]
        own = {WORKER_CPU: per_frame * sum(spent.values()), OBSERVER_CPU: per_frame * spent.get(OBSERVER, 0)}
        return {**row, **own}

    def check(self, *, active: bool) -> None:
        """See that its observer was what it was to be, all the time.

        Raises:
            NanofleetError: it was not.
        """
        said = self.worker.output()
        if (_BEGINS in said) != active or _STOPS in said:
            raise NanofleetError(f"its observer did not stay {'active' if active else 'inactive'}:\n{said}")


def observer(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure each arrangement at full load and at a fixed rate."""
    for number in range(settings.rounds):
        common = {"experiment": "observer", "round": number, "model": settings.models[0]}
        common["size"] = settings.sizes[0]

        def say(what: str, number: int = number) -> None:
            notify(f"observer, round {number + 1} of {settings.rounds}: {what}")

        try:
            say("starting")
            with prepared(find_weights(settings.models[0])) as site:
                model, folder = site.model
                members = start_members(site, "--model", model, "--weights-dir", folder)
                for row in _round(members, settings, say, settings.seed + number):
                    yield {**common, **row}
        except NanofleetError as error:
            yield {**common, "error": str(error)}


def _round(members: Dict[str, Member], settings: BenchSettings, say: Notify, seed: int) -> Iterator[Row]:
    order, at_full = Order(0, settings.sizes[0], cameras=CAMERAS), []
    for turn, name in shuffled_rounds(ARRANGEMENTS, TURNS, seed):
        say(f"{name}, full load")
        full = warmed_up(members[name].driver, settings.seconds, order)
        at_full.append({"load": FULL, "arrangement": name, "turn": turn, **members[name].measured(full)})
        yield at_full[-1]
    rate = fixed_rate(at_full)
    for turn, name in shuffled_rounds(ARRANGEMENTS, TURNS, seed):
        say(f"{name}, {rate:.0f} frames/s")
        fixed = replace(order, frames=frames_for(rate, settings.seconds), rate=rate, seed=seed + turn)
        common = {"load": FIXED, "arrangement": name, "turn": turn, "rate": rate}
        yield {**common, **members[name].measured(fixed)}
    for name, member in members.items():
        member.check(active=name == ACTIVE)


def start_members(site: Site, *model: str) -> Dict[str, Member]:
    """Start all with these flags for the model, each with a root of its own on one broker."""
    port = site.mosquitto()
    broker = f"mqtt://127.0.0.1:{port}"
    members = {}
    for number, arrangement in enumerate(ARRANGEMENTS):
        root = f"bench-{number}"
        if arrangement == STANDBY:
            site.serve(site.python("fleet", "observe", "--broker", broker, "--root", root), prints(_BEGINS))
        observe = "--no-observe" if arrangement == WITHOUT else "--observe"
        (worker,) = site.workers(port, 1, *model, observe, module=("bench.threads",), root=root)
        if arrangement == ACTIVE:
            worker.wait_until(lambda worker=worker: _BEGINS in worker.output())  # type: ignore[misc]
        driver = Driver(["bench.drivers.publisher", broker, root], site.folder / f"{root}.log")
        members[arrangement] = Member(worker, driver)
    return members


def fixed_rate(at_full: Sequence[Row]) -> float:
    """Frames a second that leave each arrangement some room."""
    rates = [spread(rows_of(at_full, arrangement=arrangement), FPS) for arrangement in ARRANGEMENTS]
    return min(RATE, *(PART * rate.median for rate in rates if rate))
