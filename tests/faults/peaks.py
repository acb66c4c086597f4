"""The most memory that workers and their decoders have had, sampled while they run."""

from __future__ import annotations

import threading
from typing import Dict, List

from tests.faults import memory
from tests.harness import WorkerProcess


class Peaks:
    """Samples some workers, to which others may be added, until it is closed.

    Attributes:
        bytes: the most of any one worker process, and of any one decoder.
    """

    def __init__(self, workers: List[WorkerProcess]) -> None:
        self.bytes: Dict[str, int] = {"worker": 0, "decoder": 0}
        self._workers = workers
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_closed, daemon=True)
        self._thread.start()

    def _sample_until_closed(self) -> None:
        while not self._ended.wait(0.2):
            self.sample()

    def sample(self) -> None:
        """Look once."""
        for worker in list(self._workers):
            pid = worker.process.pid
            self.bytes["worker"] = max(self.bytes["worker"], memory.peak_bytes(pid))
            for decoder in memory.decoders(pid):
                self.bytes["decoder"] = max(self.bytes["decoder"], memory.peak_bytes(decoder))

    def close(self) -> None:
        """End the sampling."""
        self._ended.set()
        self._thread.join()
