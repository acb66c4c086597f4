"""The transport alone: frames through a worker whose engine costs nothing, and to clients that only read.

publisher ──> Mosquitto ──> mosquitto_sub | a paho client | a worker, which decodes and answers as well
decoding and the same engine in a loop                      what of the worker's time is no transport
"""

from __future__ import annotations

import shutil
from typing import Dict, Iterator, Sequence, Tuple

from bench.drive import Order
from bench.measure import Notify, Row, measure_for, shuffled_rounds
from bench.settings import BenchSettings
from bench.site import Site, Start, started
from bench.tiny import write_tiny
from bench.weights import find_weights
from wire.errors import NanofleetError

#: Bytes; the first two are those of a photo of 480p and of 1080p.
PAYLOADS = (57_000, 230_000, 500_000)
BARE, ANSWERS = "no transport: a loop", "nanofleet, answers"


def tiny_fleet(workers: int) -> Start:
    """A fleet of nanofleet's, with an engine that costs nothing."""

    def start(site: Site) -> Tuple[str, ...]:
        port = site.mosquitto()
        site.workers(port, workers, *write_tiny(site.folder / "tiny"))
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
    ANSWERS: tiny_fleet(1),
    BARE: _bare,
}


def transport(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure each reader with each payload."""
    for number, (name, start) in shuffled_rounds(list(READERS.items()), settings.rounds, settings.seed):
        notify(f"transport, round {number + 1} of {settings.rounds}: {name}")
        common = {"experiment": "transport", "round": number, "way": name}
        try:
            with started(start, find_weights(settings.models[0])) as driver:
                for payload in PAYLOADS:
                    order = Order(0, "thumbnail", payload=payload)
                    yield {**common, "payload": payload, **measure_for(driver, settings.seconds, order).row()}
        except NanofleetError as error:
            yield {**common, "error": str(error)}
