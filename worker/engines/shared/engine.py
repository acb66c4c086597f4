"""A front end's side: an engine that has its batches run by the engine process."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import numpy as np
from numpy.typing import NDArray

from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.engines.opened import Opened
from worker.engines.shared.channel import (
    Area,
    Lost,
    Rendezvous,
    receive_count,
    receive_message,
    send_count,
    send_message,
)
from worker.models.info import Model

log = logging.getLogger(__name__)

#: A batch is given up once so many engine processes have ended with it, the last one with it alone.
MOST_BEGUN = 2

#: What a refusal is raised as, by its kind.
_ERRORS: Dict[str, Callable[[str], Exception]] = {"settings": SettingsError, "other": NanofleetError}


class EngineEnded(NanofleetError):
    """The engine process has ended again with the same batch, which may be the doing of a frame in it."""

    ends_process = True  # as where this process had run it, and that counts as a death


def open_shared(rendezvous: Rendezvous, choice: ModelChoice) -> Opened:
    """Have the engine process open a model, and wait for it, and for the process if need be.

    Raises:
        NanofleetError: as the engine process's `open_it` raises it.
        RuntimeError: it has raised anything else, which its log shows.
    """
    first = _connected(rendezvous, choice)
    files = {Path(path): tuple(version) if version else None for path, version in first.about["files"]}
    return Opened(files, first.model, SharedEngine(rendezvous, choice, first))


class _Channel:
    """An open channel: what the model is, and the memory for one batch."""

    def __init__(self, rendezvous: Rendezvous, choice: ModelChoice) -> None:
        """Ask for a model, and wait.

        Raises:
            Lost: the engine process died of it, or meanwhile.
            Exception: see `open_shared`.
        """
        self._socket = rendezvous.connect()
        # Together with a model that is no longer used goes its channel, by which the engine process knows.
        self.close = weakref.finalize(self, self._socket.close)
        try:
            send_message(self._socket, {"choice": choice.model_dump(mode="json")})
            self.about, fds = receive_message(self._socket)
        except BaseException:
            self.close()
            raise
        if "error" in self.about:
            self.close()
            raise _ERRORS.get(self.about["kind"], RuntimeError)(self.about["error"])
        self.model = Model.model_validate(self.about["model"])
        self._area = Area(
            fds[0], self.about["max_batch"], self.model.preprocessing.shape, self.about["outputs"]
        )
        os.close(fds[0])

    @property
    def begun(self) -> int:
        """How many engine processes have begun to run the batch."""
        return int(self._area.begun[0])

    def infer(self, batch: NDArray[np.uint8], begun: int) -> Tuple[NDArray[np.float32], int]:
        """See Engine; and how many of the batch were close calls.

        Args:
            batch: the pixels.
            begun: how many engine processes have begun to run it, and ended.

        Raises:
            Lost: the engine process is gone.
        """
        size = len(batch)
        self._area.begun[0] = begun
        np.copyto(self._area.pixels[:size], batch)
        send_count(self._socket, size)
        close_calls = receive_count(self._socket)
        return self._area.rows[:size].copy(), close_calls


def _connected(rendezvous: Rendezvous, choice: ModelChoice) -> _Channel:
    """A channel, by the engine process that is there, or by the next."""
    while True:
        with contextlib.suppress(Lost):
            return _Channel(rendezvous, choice)


class SharedEngine:
    """See `worker.engines.base.Engine`. Runs what the engine process has open."""

    def __init__(self, rendezvous: Rendezvous, choice: ModelChoice, first: _Channel) -> None:
        """Open as many channels as there are threads to run batches.

        Args:
            rendezvous: with the engine process.
            choice: the model.
            first: a channel for it.
        """
        about: Dict[str, Any] = first.about
        self.name: str = about["name"]
        self.device: str = about["device"]
        self.why: str = f"{about['why']}; shared"
        self.at_once: int = about["at_once"]
        self._rendezvous = rendezvous
        self._choice = choice
        self._model = first.model
        self._count: Callable[[int], object] = lambda close_calls: None
        self._free: queue.SimpleQueue[_Channel] = queue.SimpleQueue()
        self._free.put(first)
        for _ in range(1, self.at_once):
            self._free.put(self._again())

    def count_by(self, count: Callable[[int], object]) -> None:
        """See `worker.engines.close_calls.CloseCalls`: the engine process has one, or does without."""
        self._count = count

    def warm_up(self) -> None:
        """See Engine: it is warm."""

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See Engine. Where the engine process dies, the batch waits for the next one.

        Raises:
            EngineEnded: it died of this batch, as it seems.
            NanofleetError: the next one cannot open the model, or opens another.
        """
        channel, begun = self._free.get(), 0
        try:
            while True:
                with contextlib.suppress(Lost):
                    rows, close_calls = channel.infer(batch, begun)
                    self._count(close_calls)
                    return rows
                begun = channel.begun
                channel.close()
                if begun >= MOST_BEGUN:
                    raise EngineEnded(
                        f"the engine process ended {begun} times with the same batch of {len(batch)}; "
                        "leaving, to be started again"
                    )
                log.warning("the engine process is gone: %d frames wait for the next one", len(batch))
                channel = self._again()
        finally:
            self._free.put(channel)

    def _again(self) -> _Channel:
        try:
            channel = _connected(self._rendezvous, self._choice)
        # Of a setting that was right before: the next start finds a model that can be opened, or says so.
        except Exception as error:
            raise NanofleetError(f"{error}; leaving, to be started again") from error
        if channel.model != self._model:
            raise NanofleetError(f"{self._choice.model} was replaced; leaving, to be started with it")
        return channel
