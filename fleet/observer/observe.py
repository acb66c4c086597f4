"""`nanofleet observe`, and the observer inside `nanofleet worker`."""

from __future__ import annotations

import contextlib
import threading
from typing import Callable

from fleet.observer.observer import Observer, observing
from fleet.observer.settings import ObserveSettings
from fleet.observer.task import Task
from wire.broker import BrokerSettings
from wire.camera_settings import read_cameras
from wire.observer_settings import ObserverSettings
from wire.private import keep_memory_private
from wire.signals import stop_signals
from worker.settings import WorkerSettings


def observe(settings: ObserveSettings) -> int:
    """Observe until told to stop; returns the exit code.

    Raises:
        NanofleetError: a setting is wrong, or the broker refuses.
    """
    keep_memory_private()
    task = _task(settings, settings, settings.name, settings.status_interval)
    stop = threading.Event()
    with stop_signals(stop):
        Observer(task).run(stop, patient=False)
    return 0


def observer_of(settings: WorkerSettings) -> Callable[[str], contextlib.AbstractContextManager[None]]:
    """What runs the observer inside a worker, once the worker's id is known.

    Raises:
        SettingsError: the broker's address or the file of --cameras is wrong.
    """
    if not settings.observe:
        return lambda worker_id: contextlib.nullcontext()
    task = _task(settings, settings, "", settings.status_interval)
    return lambda worker_id: observing(task._replace(observer=worker_id))


def _task(where: BrokerSettings, settings: ObserverSettings, observer: str, status_interval: float) -> Task:
    return Task(
        broker=where.open_broker(),
        topics=where.topics,
        observer=observer,
        status_interval=status_interval,
        file=read_cameras(settings.cameras) if settings.cameras else {},
        silent_after=settings.silent_after,
        discovery_prefix=settings.discovery_prefix if settings.home_assistant else None,
    )
