"""A fleet of a test's own: workers, listeners and cameras below a root topic that no other test uses."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Optional

import pytest

from tests.harness import Listener, WorkerProcess, user_properties
from tests.tiny import tiny_model

EMBEDDED = pytest.param(
    "embedded",
    marks=pytest.mark.skipif(sys.version_info < (3, 9), reason="iotcore has no wheel for Python 3.8"),
)
#: Run a test with its fleet on Mosquitto, and once more on the embedded broker; or on the latter alone.
on_both_brokers = pytest.mark.parametrize("fleet", ["mosquitto", EMBEDDED], indirect=True)
on_the_embedded_broker = pytest.mark.parametrize("fleet", [EMBEDDED], indirect=True)


class Fleet:
    """Starts the members of one fleet, and ends them with the test.

    Attributes:
        url: of the broker.
        root: what the fleet's topics begin with.
        folder: for the workers' logs and state.
        workers: those that were started.
    """

    def __init__(self, url: str, root: str, folder: Path) -> None:
        self.url = url
        self.root = root
        self.folder = folder
        self.workers: List[WorkerProcess] = []
        self._clients: List[Listener] = []
        self._camera: Optional[Listener] = None

    def at(self, url: str) -> Fleet:
        """Return the same fleet at another address: a broker of the test's own, or a proxy before it."""
        there = copy.copy(self)
        there.url = url
        there._camera = None
        return there

    def worker(self, *flags: str, id: str = "w1", wait: bool = True) -> WorkerProcess:
        """Start a worker, with a tiny model where the flags name none.

        Args:
            flags: of `nanofleet worker`, beside where it finds its fleet.
            id: unique in the fleet; the worker's own id begins with the root, because logs name it.
            wait: return once it serves.
        """
        model = () if "--model" in flags else tiny_model()
        worker = WorkerProcess(self.folder, self.url, self.root, f"{self.root}-{id}", *model, *flags)
        self.workers.append(worker)
        if wait:
            worker.wait_ready()
        return worker

    def listen(self, *topics: str) -> Listener:
        """Open a listener to topics below the root, such as `results/+`."""
        self._clients.append(Listener(self.url, *(f"{self.root}/{topic}" for topic in topics)))
        return self._clients[-1]

    def send(self, camera: str, image: bytes, frame_id: str = "", **options: Any) -> None:
        """Publish a frame as a plain camera does, and wait for the PUBACK.

        Args:
            camera: the last level of the topic.
            image: the payload.
            frame_id: sent as the user property `frame-id`, if any.
            options: of paho's publish.
        """
        if self._camera is None:
            self._camera = self.listen()
        if frame_id:
            options.update(user_properties(("frame-id", frame_id)))
        self._camera.publish(f"{self.root}/frames/{camera}", image, **options)

    def close(self) -> None:
        """Stop the workers that still run, all of which must stop well, and close the clients."""
        running = [worker for worker in self.workers if worker.process.poll() is None]
        for worker in running:
            worker.process.terminate()
        late = [worker for worker in running if not _ends(worker.process)]
        for client in self._clients:
            client.close()
        for worker in late:
            worker.process.kill()
            worker.process.wait()
        assert not late, "\n".join(f"{w.id} did not stop:\n{w.log.read_text()}" for w in late)
        for worker in self.workers:
            assert "Traceback" not in worker.log.read_text(), worker.log.read_text()


def _ends(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        return False
    return True
