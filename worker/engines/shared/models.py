"""The models that the engine process has open: each once, for as long as a front end uses it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Callable, List

from wire.model_choice import ModelChoice
from worker.engines.opened import Opened, are_there_still
from worker.engines.shared.alarm import OPEN_TIMEOUT, Alarm
from worker.engines.shared.runner import Runner


class Shared:
    """A model that is open, or about to be, and the channels that use it."""

    def __init__(self, choice: ModelChoice) -> None:
        self.choice = choice
        self.users = 0
        self.runner: Future[Runner] = Future()

    def is_of(self, choice: ModelChoice) -> bool:
        """Whether this is what a choice asks for, with files that have not been replaced since."""
        if self.choice != choice:
            return False
        return not self.runner.done() or are_there_still(self.runner.result().opened.files)


class Models:
    """Opens models, and closes those that nobody uses any more. Any thread may call it."""

    def __init__(self, open_it: Callable[[ModelChoice], Opened], max_batch: int, alarm: Alarm) -> None:
        """Begin without a model.

        Args:
            open_it: opens one, warm.
            max_batch: images in a batch of any, at most.
            alarm: ends the process when a batch, or opening a model, takes too long.
        """
        self._open_it = open_it
        self._alarm = alarm
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self._shared: List[Shared] = []

    def acquire(self, choice: ModelChoice) -> Shared:
        """Open a model, or share it with those that have it open, or wait for it with those that open it.

        Raises:
            Exception: what keeps it from being opened.
        """
        with self._lock:
            shared = next((each for each in self._shared if each.is_of(choice)), None)
            opens = shared is None
            if shared is None:
                shared = Shared(choice)
                self._shared.append(shared)
            shared.users += 1
        if opens:
            self._open(shared)
        shared.runner.result()
        return shared

    def release(self, shared: Shared) -> None:
        """A channel no longer uses a model that it has acquired."""
        with self._lock:
            shared.users -= 1
            if shared.users:
                return
            self._shared.remove(shared)
        shared.runner.result().close()

    def _open(self, shared: Shared) -> None:
        try:
            with self._alarm.within(OPEN_TIMEOUT):
                runner = Runner(self._open_it(shared.choice), self._max_batch, self._alarm)
            shared.runner.set_result(runner)
        except BaseException as error:  # noqa: BLE001 - carried to all that wait for it
            with self._lock:
                self._shared.remove(shared)  # so that the next one tries again
            shared.runner.set_exception(error)
