"""What `nanofleet workers` prints, and workers that go on reporting."""

from __future__ import annotations

import subprocess
import threading
from typing import Any, Callable, Dict

from tests.fleet.members import publish_status
from tests.harness import Listener

DAY = 86400.0

Run = Callable[..., "subprocess.CompletedProcess[str]"]

Report = Callable[..., None]


def lines(run: subprocess.CompletedProcess[str]) -> Dict[str, str]:
    """The lines of a table, by worker."""
    assert run.stderr == "", run.stderr
    return {line.split()[0]: line.rstrip() for line in run.stdout.splitlines()[1:]}


class reporting:
    """A worker that goes on publishing its status while the block lasts."""

    def __init__(self, listener: Listener, root: str, name: str, every: float = 0.5, **facts: Any) -> None:
        self._every = every
        self._publish = lambda: publish_status(listener, root, name, **facts)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self._publish()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
