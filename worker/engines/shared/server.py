"""The engine process's side: a thread for each channel."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import Any, Callable, Dict, NoReturn

from wire.decoder.memory import shared_memory
from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from wire.printable import first_line
from worker.engines.opened import Opened
from worker.engines.shared.alarm import Alarm
from worker.engines.shared.channel import (
    Area,
    Lost,
    Rendezvous,
    receive_count,
    receive_message,
    send_count,
    send_message,
    size_of_area,
)
from worker.engines.shared.models import Models
from worker.engines.shared.pulse import Pulse
from worker.engines.shared.runner import Request, Runner

log = logging.getLogger(__name__)

_BEAT_SECONDS = 1.0


def serve(
    rendezvous: Rendezvous,
    open_it: Callable[[ModelChoice], Opened],
    max_batch: int,
    stall_timeout: float,
    pulse: Pulse,
) -> NoReturn:
    """Run what front ends send, until the process ends.

    Args:
        rendezvous: with the front ends.
        open_it: opens a model, warm.
        max_batch: images in a batch, at most.
        stall_timeout: seconds that a batch may take; the process ends when one takes longer.
        pulse: the process's.
    """
    alarm = Alarm(stall_timeout, pulse)
    models = Models(open_it, max_batch, alarm)
    threading.Thread(target=_beat, args=(alarm,), name="pulse", daemon=True).start()
    while True:
        channel = rendezvous.accept()
        threading.Thread(target=_serve, args=(channel, models), name="channel", daemon=True).start()


def _beat(alarm: Alarm) -> NoReturn:
    while True:
        alarm.beat()
        time.sleep(_BEAT_SECONDS)


def _serve(channel: socket.socket, models: Models) -> None:
    """Serve one channel until its front end closes it, or dies."""
    with channel, contextlib.suppress(Lost), contextlib.ExitStack() as used:
        message, _ = receive_message(channel)
        try:
            shared = models.acquire(ModelChoice.model_validate(message["choice"]))
            used.callback(models.release, shared)
            runner = shared.runner.result()
            area = _share_area(channel, runner)
        except Lost:
            raise
        # Whatever a library raises: the front end decides what to do without the model.
        except BaseException as error:  # noqa: BLE001
            send_message(channel, _refusal(error))
            return
        _run_batches(channel, runner, area)


def _share_area(channel: socket.socket, runner: Runner) -> Area:
    """Tell a front end what the model is, with the memory for its batches.

    Raises:
        Lost: it is gone.
        OSError: there is no such memory.
    """
    shape = runner.opened.model.preprocessing.shape
    with shared_memory(size_of_area(runner.max_batch, shape, runner.outputs)) as fd:
        area = Area(fd, runner.max_batch, shape, runner.outputs)
        send_message(channel, _about(runner), fd)
    return area


def _run_batches(channel: socket.socket, runner: Runner, area: Area) -> None:
    """Run a front end's batches, until it is gone.

    Raises:
        Lost: it is gone; nothing uses the channel any more.
    """
    in_use = threading.Semaphore()  # by a batch that is not answered

    def hand_over(close_calls: int) -> None:
        with contextlib.suppress(Lost):
            send_count(channel, close_calls)
        in_use.release()

    try:
        while True:
            count = receive_count(channel)
            if not 1 <= count <= runner.max_batch:
                raise Lost(f"{count} images")
            in_use.acquire()
            runner.submit(Request(area.pixels[:count], area.rows[:count], area.begun, hand_over))
    finally:
        in_use.acquire()  # another channel may get the number of this one's descriptor


def _about(runner: Runner) -> Dict[str, Any]:
    files, model, engine = runner.opened
    return {
        "model": model.model_dump(mode="json"),
        "files": [(str(path), version) for path, version in files.items()],
        "name": engine.name,
        "device": engine.device,
        "why": engine.why,
        "at_once": engine.at_once,
        "max_batch": runner.max_batch,
        "outputs": runner.outputs,
    }


def _refusal(error: BaseException) -> Dict[str, str]:
    if isinstance(error, NanofleetError):
        return {"kind": "settings" if isinstance(error, SettingsError) else "other", "error": str(error)}
    log.error("a model cannot be opened", exc_info=error)
    return {"kind": "defect", "error": f"{type(error).__name__}: {first_line(error)}"}
