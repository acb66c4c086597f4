"""The ways to classify frames that are measured side by side.

limits     the engine alone; the best pipeline without a broker
nanofleet  publisher ──> Mosquitto ──> workers ──> Mosquitto ──> publisher
peers      what others would use
"""

from __future__ import annotations

import os
from typing import Dict, List, NamedTuple, Sequence

from bench.site import Site, Start, answers_at, prints
from fleet.ports import free_port


class Way(NamedTuple):
    """One way, by its name in tables."""

    name: str
    kind: str
    about: str
    start: Start


def forward(engine: str) -> Start:
    """The engine alone."""
    return lambda site: ["bench.drivers.forward", engine, *site.model]


def _pipeline(arrangement: str) -> Start:
    return lambda site: ["bench.drivers.pipeline", arrangement, *site.model]


def fleet(workers: int = 1, *, spool: bool = False, flags: Sequence[object] = ()) -> Start:
    """nanofleet, with so many workers and their flags."""

    def start(site: Site) -> Sequence[str]:
        port = site.mosquitto()
        model, folder = site.model
        site.workers(port, workers, "--model", model, "--weights-dir", folder, *flags)
        driver = ["bench.drivers.publisher", f"mqtt://127.0.0.1:{port}", "bench"]
        return [*driver, str(site.folder / "spool")] if spool else driver

    return start


def _tutorial(site: Site) -> Sequence[str]:
    return ["bench.drivers.tutorial", *site.model]


def _paho_script(site: Site) -> Sequence[str]:
    port = site.mosquitto()
    site.serve(site.python("bench.peers.paho_script", port, *site.model), prints("ready"))
    return ["bench.drivers.paho", str(port)]


def _litserve(module: str) -> Start:
    def start(site: Site) -> Sequence[str]:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        site.serve(site.python(f"bench.peers.{module}", port, *site.model), answers_at(f"{url}/health"))
        return ["bench.drivers.http", f"{url}/predict", "form"]

    return start


def _mosec(site: Site) -> Sequence[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = site.python("bench.peers.mosec_server", "--port", port, "--address", "127.0.0.1")
    command += ["--timeout", "60000", "--log-level", "warning"]
    model, folder = site.model
    env = {"DECODERS": str(_cores()), "MODEL": model, "WEIGHTS_DIR": folder}
    site.serve(command, answers_at(f"{url}/metrics"), env)
    return ["bench.drivers.http", f"{url}/inference", "body"]


def _ray(site: Site) -> Sequence[str]:
    port = free_port()
    env = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
    site.serve(site.python("bench.peers.ray_server", port, *site.model), prints("ready"), env)
    return ["bench.drivers.http", f"http://127.0.0.1:{port}/", "body"]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


WAYS: List[Way] = [
    Way("limit A", "limit", "the engine's forward alone, best batch", forward("auto")),
    Way("limit B (processes)", "limit", "decoder processes, batcher, engine", _pipeline("processes")),
    Way("limit B (threads)", "limit", "decoder threads, batcher, engine", _pipeline("threads")),
    Way("limit B (each)", "limit", "a thread a core, each decodes and infers alone", _pipeline("each")),
    Way("nanofleet", "nanofleet", "one worker, no spool", fleet()),
    Way("nanofleet (spool)", "nanofleet", "one worker, frames on disk until answered", fleet(spool=True)),
    Way("nanofleet (2 workers)", "nanofleet", "two workers, no spool", fleet(2)),
    Way("tutorial loop", "peer", "Pillow, transforms, eager; one by one", _tutorial),
    Way("paho script", "peer", "on_message decodes, classifies, publishes", _paho_script),
    Way("LitServe (eager)", "peer", "batches of 8, PyTorch", _litserve("litserve_eager")),
    Way("LitServe (our engine)", "peer", "batches of 8, our decode and engine", _litserve("litserve_fast")),
    Way("mosec (our engine)", "peer", "stages of decoders and engine", _mosec),
    Way("Ray Serve (our engine)", "peer", "batches of 8, high-throughput mode", _ray),
]
BY_NAME: Dict[str, Way] = {way.name: way for way in WAYS}
