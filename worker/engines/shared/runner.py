"""One open model: fills batches with what its front ends send, and runs them."""

from __future__ import annotations

import collections
import logging
import os
import threading
from typing import Callable, Deque, List, NamedTuple, Tuple

import numpy as np
from numpy.typing import NDArray

from worker.engines.close_calls import CloseCalls
from worker.engines.opened import Opened
from worker.engines.shared.alarm import Alarm

log = logging.getLogger(__name__)


class Request(NamedTuple):
    """A front end's batch."""

    #: uint8 [N, H, W, C].
    pixels: NDArray[np.uint8]
    #: float32 [N, outputs], where its answer goes.
    rows: NDArray[np.float32]
    #: uint32 [1], how many engine processes have begun to run it.
    begun: NDArray[np.uint32]
    #: Called when that is there, in a thread of the engine's, with how many of it were close calls.
    done: Callable[[int], None]

    @property
    def is_suspect(self) -> bool:
        """Whether it was in the engine when an engine process ended, which may be its doing."""
        return bool(self.begun[0])


class Runner:
    """Runs requests in the order they come, as many at once as there are; a suspect alone."""

    def __init__(self, opened: Opened, max_batch: int, alarm: Alarm) -> None:
        """Run a model until `close`.

        Args:
            opened: the model, warm.
            max_batch: images in a batch, at most; in a request as well.
            alarm: ends the process when a batch takes too long.
        """
        self.opened = opened
        self.max_batch = max_batch
        shape = opened.model.preprocessing.shape
        #: Numbers in a row of its answers.
        self.outputs = opened.engine.infer(np.zeros((1, *shape), np.uint8)).shape[1]
        self._alarm = alarm
        self._waiting: Deque[Request] = collections.deque()
        #: Batches in the engine, and whether a suspect is among them.
        self._running = 0
        self._alone = False
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
                with self._alarm.within(self._alarm.stall_timeout):
                    self._infer(batch)
                self._end()
                del batch  # with it goes the memory of a front end that is gone
        except BaseException:  # whatever has broken the engine, the next process has a new one
            log.exception("the engine has failed")
            os._exit(1)

    def _take(self) -> List[Request]:
        """Wait for requests, as many as make one batch; none at the end."""
        with self._changed:
            while not self._may_begin() and not self._closed:
                self._changed.wait()
            if self._closed:
                return []
            batch = [self._waiting.popleft()]
            size = len(batch[0].pixels)
            self._running += 1
            self._alone = batch[0].is_suspect
            while self._waiting and not self._alone and not self._waiting[0].is_suspect:
                size += len(self._waiting[0].pixels)
                if size > self.max_batch:
                    break
                batch.append(self._waiting.popleft())
            for request in batch:
                request.begun[0] += 1
            return batch

    def _may_begin(self) -> bool:
        if not self._waiting:
            return False
        return not self._running or not (self._alone or self._waiting[0].is_suspect)

    def _end(self) -> None:
        """Let go on what waits for the engine to be free, because of a suspect."""
        with self._changed:
            self._running -= 1
            self._alone = False
            if self._waiting:
                self._changed.notify_all()

    def _infer(self, batch: List[Request]) -> None:
        images = batch[0].pixels
        if len(batch) > 1:
            images = np.concatenate([request.pixels for request in batch])
        rows, again = self._answer(images)
        began = 0
        for request in batch:
            mine = slice(began, began + len(request.pixels))
            request.rows[:] = rows[mine]
            request.done(int(again[mine].sum()))
            began = mine.stop

    def _answer(self, images: NDArray[np.uint8]) -> Tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The rows, and which of them are of close calls."""
        engine = self.opened.engine
        if isinstance(engine, CloseCalls):
            return engine.answer(images)
        return engine.infer(images), np.zeros(len(images), np.bool_)
