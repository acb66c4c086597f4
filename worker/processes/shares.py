"""What of a worker's settings each of its front ends gets."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator

from wire.errors import SettingsError
from wire.topics import ID
from worker.cores import available
from worker.membership.identity import claim_shared_id
from worker.settings import WorkerSettings
from worker.settings.decoding import LEAST_DECODER_MEMORY, MOST_DECODERS


def check(settings: WorkerSettings) -> None:
    """Raise what the front ends could not be named, or not listen on.

    Raises:
        SettingsError: the id is too long for a number behind it, or the ports do not suffice.
    """
    last = settings.processes
    if settings.worker_id and not ID.fullmatch(name_of(settings, last)):
        raise SettingsError(
            f"--worker-id: with --processes each gets a number behind it, as -{last}: shorten it"
        )
    if settings.metrics_port and settings.metrics_port + last - 1 > 65535:
        raise SettingsError(f"--metrics-port: the ports from it on do not suffice for --processes {last}")


@contextlib.contextmanager
def named(settings: WorkerSettings) -> Iterator[WorkerSettings]:
    """The settings with an id that no others on this machine get meanwhile, where none was given.

    Raises:
        NanofleetError: the state directory cannot be written.
    """
    if settings.worker_id:
        yield settings
        return
    with claim_shared_id(settings.state_dir) as worker_id:
        yield settings.model_copy(update={"worker_id": worker_id})


def name_of(settings: WorkerSettings, number: int) -> str:
    """The worker id of a front end, from 1 on, of those that are `named`."""
    return f"{settings.worker_id}-{number}"


def share_of(settings: WorkerSettings, number: int, max_batch: int, on_cpu: bool) -> WorkerSettings:
    """The settings of a front end.

    Args:
        settings: those of all.
        number: which one, from 1 on.
        max_batch: what the engine process takes.
        on_cpu: whether that shares the processors with the decoders.
    """
    mine: Dict[str, Any] = {
        "worker_id": name_of(settings, number),
        "max_batch": max_batch,
        "decoders": settings.decoders or decoders_each(settings, on_cpu),
    }
    # Where no port is given, each takes the next that is free, as workers do beside each other.
    if "metrics_port" in settings.model_fields_set and settings.metrics_port:
        mine["metrics_port"] = settings.metrics_port + number - 1
    return settings.model_copy(update=mine)


def decoders_each(settings: WorkerSettings, on_cpu: bool) -> int:
    """Decoders of each front end, where no number is given.

    On a CPU they are together as many as one worker's. Beside a GPU they get all cores but one for each front
    end's own thread, one for the engine process and one for the rest of the machine. Either is as far as the
    memory goes.
    """
    front_ends = settings.processes
    together = settings.decoder_count if on_cpu else available() - front_ends - 2
    fit = settings.memory_share // 2 // LEAST_DECODER_MEMORY
    return max(1, min(-(-together // front_ends), fit, MOST_DECODERS))
