"""`nanofleet worker`: a worker, and the embedded broker that `--broker embedded` starts for it."""

from __future__ import annotations

from fleet.embedded import with_broker
from worker import service
from worker.settings import WorkerSettings


def run_worker(settings: WorkerSettings) -> int:
    """Run a worker until it leaves; returns the exit code.

    Raises:
        NanofleetError: the worker or its broker cannot start, or cannot go on.
    """
    with with_broker(settings) as ready:
        return service.run(ready)
