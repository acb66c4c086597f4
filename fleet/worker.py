"""`nanofleet worker`: a worker, its observer, and the broker that `--broker embedded` starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from fleet.embedded import is_embedded, with_broker
from fleet.observer.observe import observer_of
from wire.errors import NanofleetError, SettingsError
from worker import service
from worker.life import Life
from worker.processes import supervisor
from worker.settings import WorkerSettings


def run_worker(settings: WorkerSettings) -> int:
    """Run a worker until it leaves; returns the exit code. One that is told to restart begins again.

    Raises:
        NanofleetError: the worker or its broker cannot start, or cannot go on.
    """
    if settings.processes > 1:
        if is_embedded(settings.broker):
            raise SettingsError(
                f"--processes {settings.processes}: with the embedded broker a worker is one process; take "
                "another broker, such as Mosquitto"
            )
        return supervisor.run(settings, beside=observer_of(settings))
    life = Life(may_restart=not is_embedded(settings.broker))
    with with_broker(settings) as ready:
        code = service.run(ready, life, beside=observer_of(ready))
    if life.restarts:
        _begin_again()
    return code


def _begin_again() -> NoReturn:
    """Become a new process of the same command line and environment, with the same pid.

    Raises:
        NanofleetError: it cannot be started, for example because its Python was replaced.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    try:
        # The system's own copy: sys.argv lacks what Python itself was told, such as -m.
        arguments = Path("/proc/self/cmdline").read_bytes().split(b"\0")[1:-1]
        os.execv(sys.executable, [os.fsencode(sys.executable), *arguments])
    except OSError as error:
        raise NanofleetError(f"cannot restart: {sys.executable}: {error.strerror or error}") from None
