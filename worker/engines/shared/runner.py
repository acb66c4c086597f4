"""One open model: fills batches with what its front ends send, and runs them."""

from __future__ import annotations

import collections
import logging
import os
import threading
from typing import Callable, Deque, List, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.engines.opened import Opened

log = logging.getLogger(__name__)


class Request(NamedTuple):
    """A front end's batch."""

    #: uint8 [N, H, W, C].
    pixels: NDArray[np.uint8]
    #: float32 [N, outputs], where its answer goes.
    rows: NDArray[np.float32]
    #: Called when that is there, in a thread of the engine's.
    done: Callable[[], None]


class Runner:
    """Runs requests in the order they come, as many at once as there are."""

    def __init__(self, opened: Opened, max_batch: int) -> None:
        """Run a model until `close`.

        Args:
            opened: the model, warm.
            max_batch: images in a batch, at most; in a request as well.
        """
        self.opened = opened
        self.max_batch = max_batch
        shape = opened.model.preprocessing.shape
        #: Numbers in a row of its answers.
        self.outputs = opened.engine.infer(np.zeros((1, *shape), np.uint8)).shape[1]
        self._waiting: Deque[Request] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        for number in range(opened.engine.at_once):
            threading.Thread(target=self._run, name=f"engine-{number}", daemon=True).start()

    def submit(self, request: Request) -> None:
        """Run a request as soon as the engine is free; from any thread."""
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()

    def close(self) -> None:
        """End the threads, and with them the model; nobody waits for an answer any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while True:
                batch = self._take()
                if not batch:
                    return
                self._infer(batch)
                del batch  # with it goes the memory of a front end that is gone
        except BaseException:  # whatever has broken the engine, the next process has a new one
            log.exception("the engine has failed")
            os._exit(1)

    def _take(self) -> List[Request]:
        """Wait for requests, as many as make one batch; none at the end."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return []
            batch = [self._waiting.popleft()]
            size = len(batch[0].pixels)
            while self._waiting and size + len(self._waiting[0].pixels) <= self.max_batch:
                batch.append(self._waiting.popleft())
                size += len(batch[-1].pixels)
            return batch

    def _infer(self, batch: List[Request]) -> None:
        images = batch[0].pixels
        if len(batch) > 1:
            images = np.concatenate([request.pixels for request in batch])
        rows = self.opened.engine.infer(images)
        began = 0
        for request in batch:
            size = len(request.pixels)
            request.rows[:] = rows[began : began + size]
            began += size
            request.done()
