"""The transport alone: frames through a worker whose engine costs nothing, and to clients that only read.

publisher ──> Mosquitto ──> mosquitto_sub | a paho client | a worker, which decodes and answers as well
decoding and the same engine in a loop                      what all but the transport takes at least

Of the worker it is known what each of its threads takes: the transport is made of some of them.
"""

from __future__ import annotations

import shutil
from typing import Dict, Iterator, Sequence, Tuple

from bench.drive import Order
from bench.measure import Notify, Row, shuffled_rounds, warmed_up
from bench.roles import parts_of
from bench.settings import BenchSettings
from bench.site import Driver, Site, Start, prepared
from bench.threads import OBSERVER, spent_by_thread
from bench.tiny import write_tiny
from bench.weights import find_weights
from wire.errors import NanofleetError

#: Bytes; the first two are those of a photo of 480p and of 1080p.
PAYLOADS = (57_000, 230_000, 500_000)
BARE, ANSWERS = "no transport: a loop", "nanofleet, answers"
#: Milliseconds of CPU a frame of each of a worker's threads, by name.
BY_THREAD = "cpu_ms_per_frame_by_thread"
#: The parts of a frame's way that are the transport.
TRANSPORT = ("publisher", "broker", "network thread", "handing over to decoders")


def tiny_fleet(workers: int, module: str = "fleet") -> Start:
    """A fleet of nanofleet's, with an engine that costs nothing; run by this module."""

    def start(site: Site) -> Tuple[str, ...]:
        port = site.mosquitto()
        site.workers(port, workers, *write_tiny(site.folder / "tiny"), module=(module,))
        return ("bench.drivers.publisher", f"mqtt://127.0.0.1:{port}", "bench")

    return start


def _mosquitto_sub(site: Site) -> Sequence[str]:
    if shutil.which("mosquitto_sub") is None:
        raise NanofleetError("mosquitto_sub is not installed (Debian: apt-get install mosquitto-clients)")
    port = str(site.mosquitto())
    command = ["mosquitto_sub", "-V", "mqttv5", "-p", port, "-t", "bench/frames/+", "-q", "1", "-F", "%l"]
    return ["bench.drivers.reader", port, *command]


def _paho(site: Site) -> Sequence[str]:
    port = str(site.mosquitto())
    return ["bench.drivers.reader", port, *site.python("bench.peers.paho_reader", port)]


def _bare(site: Site) -> Sequence[str]:
    _, model, _, labels = write_tiny(site.folder / "tiny")
    return ["bench.drivers.bare", model, labels]


READERS: Dict[str, Start] = {
    "mosquitto_sub, reads": _mosquitto_sub,
    "paho client, reads": _paho,
    ANSWERS: tiny_fleet(1, "bench.threads"),
    BARE: _bare,
}


def transport(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure each reader with each payload."""
    for number, (name, start) in shuffled_rounds(list(READERS.items()), settings.rounds, settings.seed):
        notify(f"transport, round {number + 1} of {settings.rounds}: {name}")
        common = {"experiment": "transport", "round": number, "way": name}
        try:
            with prepared(find_weights(settings.models[0])) as site:
                driver = Driver(start(site), site.folder / "driver.log")
                for payload in PAYLOADS:
                    order = warmed_up(driver, settings.seconds, Order(0, "thumbnail", payload=payload))
                    row = _by_thread(site, driver, order) if name == ANSWERS else driver.measure(order).row()
                    yield {**common, "payload": payload, **row}
        except NanofleetError as error:
            yield {**common, "error": str(error)}


def _by_thread(site: Site, driver: Driver, order: Order) -> Row:
    worker = site.servers[-1].process.pid
    with spent_by_thread(worker) as spent:
        row = driver.measure(order).row()
    return {**row, BY_THREAD: {name: 1000 * seconds / row["frames"] for name, seconds in spent.items()}}


def parts(row: Row) -> Dict[str, float]:
    """What a frame took that nanofleet answered, in the order of its way: milliseconds of CPU, by part."""
    threads: Dict[str, float] = row[BY_THREAD]
    of = parts_of(row)

    def named(beginning: str) -> float:
        return sum(spent for name, spent in threads.items() if name.startswith(beginning))

    return {
        "publisher": of.load,
        "broker": of.broker,
        "network thread": named("network"),
        "handing over to decoders": named("decoder-"),
        "decoders": row["cpu_ms_per_frame_of"].get("worker.decode.process", 0.0),
        "engine and answers": named("engine-"),
        "observer": named(OBSERVER),
    }
