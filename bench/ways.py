"""The ways to classify frames that are measured side by side.

limits     the engine alone; the worker's parts without a broker
nanofleet  publisher ──> Mosquitto ──> workers ──> Mosquitto ──> publisher
peers      what others would use: as their documentation has it; at their best, with our engine
"""

from __future__ import annotations

import os
from typing import Callable, Dict, List, NamedTuple, Sequence

from bench.peers.setting import Setting, for_litserve, for_mosec, for_ray
from bench.site import Site, Start, answers_at, prints
from fleet.ports import free_port


class Way(NamedTuple):
    """One way, by its name in tables."""

    name: str
    kind: str
    about: str
    #: For so many cores, by the name of a setting. Where there are several, `bench.sweep` finds the best.
    starts: Callable[[int], Dict[str, Start]]


def cores() -> int:
    """Those that all ways share."""
    return len(os.sched_getaffinity(0))


def forward(engine: str) -> Start:
    """The engine alone."""
    return lambda site: ["bench.drivers.forward", engine, *site.model]


def pipeline(site: Site) -> Sequence[str]:
    """The worker's parts without its connection."""
    return ["bench.drivers.pipeline", *site.model]


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


def _tutorials(site: Site) -> Sequence[str]:
    return ["bench.drivers.tutorials", str(cores()), str(site.folder), *site.model]


def _paho_script(site: Site) -> Sequence[str]:
    port = site.mosquitto()
    site.serve(site.python("bench.peers.paho_script", port, *site.model), prints("ready"))
    return ["bench.drivers.paho", str(port)]


def _litserve(module: str, variables: Dict[str, str]) -> Start:
    def start(site: Site) -> Sequence[str]:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = site.python(f"bench.peers.{module}", port, *site.model)
        site.serve(command, answers_at(f"{url}/health"), variables)
        return ["bench.drivers.http", f"{url}/predict"]

    return start


def _mosec(module: str, variables: Dict[str, str]) -> Start:
    def start(site: Site) -> Sequence[str]:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = site.python(f"bench.peers.{module}", "--port", port, "--address", "127.0.0.1")
        command += ["--timeout", "60000", "--log-level", "warning"]
        model, folder = site.model
        known = {"MODEL": model, "WEIGHTS_DIR": folder, **variables}
        site.serve(command, answers_at(f"{url}/metrics"), known)
        return ["bench.drivers.http", f"{url}/inference"]

    return start


def _ray(module: str, variables: Dict[str, str]) -> Start:
    def start(site: Site) -> Sequence[str]:
        port = free_port()
        site.serve(site.python(f"bench.peers.{module}", port, *site.model), prints("ready"), variables)
        return ["bench.drivers.http", f"http://127.0.0.1:{port}/"]

    return start


def _ray_fast(module: str, variables: Dict[str, str]) -> Start:
    documented = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
    return _ray(module, {**documented, **variables})


def _one(start: Start) -> Callable[[int], Dict[str, Start]]:
    return lambda cores: {"": start}


def _tuned(
    settings: Callable[[int], Sequence[Setting]], server: Callable[[str, Dict[str, str]], Start], module: str
) -> Callable[[int], Dict[str, Start]]:
    return lambda cores: {str(each): server(module, each.variables()) for each in settings(cores)}


_OURS = "our decoding and engine, in the sweep's best setting"
WAYS: List[Way] = [
    Way("limit A", "limit", "the engine's forward alone, best batch", _one(forward("auto"))),
    Way("limit B", "limit", "decoder processes, batcher, engine", _one(pipeline)),
    Way("nanofleet", "nanofleet", "one worker, no spool", _one(fleet())),
    Way(
        "nanofleet (spool)", "nanofleet", "one worker, frames on disk until answered", _one(fleet(spool=True))
    ),
    Way("nanofleet (2 workers)", "nanofleet", "two workers, no spool", _one(fleet(2))),
    Way("tutorial loop", "peer", "Pillow, transforms, eager; one by one", _one(_tutorial)),
    Way("tutorial loops", "peer", "a one-thread process of it a core", _one(_tutorials)),
    Way("paho script", "peer", "on_message decodes, classifies, publishes", _one(_paho_script)),
    Way("LitServe (eager)", "peer", "batches of 8, PyTorch", _one(_litserve("litserve_eager", {}))),
    Way("mosec (eager)", "peer", "its example of an image model", _one(_mosec("mosec_eager", {}))),
    Way("Ray Serve (eager)", "peer", "its example of an image model", _one(_ray("ray_eager", {}))),
    Way("LitServe (our engine)", "peer", _OURS, _tuned(for_litserve, _litserve, "litserve_fast")),
    Way("mosec (our engine)", "peer", _OURS, _tuned(for_mosec, _mosec, "mosec_fast")),
    Way("Ray Serve (our engine)", "peer", _OURS, _tuned(for_ray, _ray_fast, "ray_fast")),
]
