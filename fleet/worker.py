"""`nanofleet worker`: a worker, its observer, and the broker that `--broker embedded` starts."""

from __future__ import annotations

from fleet.embedded import with_broker
from fleet.observer.observe import observer_of
from worker import service
from worker.settings import WorkerSettings


def run_worker(settings: WorkerSettings) -> int:
    """Run a worker until it leaves; returns the exit code.

    Raises:
        NanofleetError: the worker or its broker cannot start, or cannot go on.
    """
    with with_broker(settings) as ready:
        return service.run(ready, beside=observer_of(ready))
