"""The memory that an export takes: compared with what is free before, and named when it was too much.

what is free ──> too little: a warning ──> process ──> killed, crashed, out of memory ──> an error

A process in which PyTorch has died says what would become of a worker that imports PyTorch itself. So none of
these errors is an ExportError, after which a worker goes on with PyTorch: that takes as much, at each start.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
import signal
from typing import Optional

from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker import memory
from worker.engines.child import CRASHES, how_it_ended
from worker.engines.without_torch import export_command

log = logging.getLogger(__name__)

#: MiB of memory in which MobileNet v2 can just be exported; from PyTorch 2.9 on it takes more.
NEEDED, NEEDED_SINCE_2_9 = 400, 700


def warn_of_little_memory(choice: ModelChoice) -> Optional[int]:
    """Say so if an export is likely to be killed; returns the MiB that are free, if that is known."""
    free = memory.free()
    if free is None:
        return None
    if free >> 20 < needed():
        log.warning(
            "%s: its export takes %d MiB of memory or more, and %d MiB are free, swap included. If it is "
            "killed, add swap, or %s",
            *(choice.model, needed(), free >> 20, _elsewhere(choice)),
        )
    return free >> 20


def needed() -> int:
    """MiB that an export takes at least, with the PyTorch that is installed."""
    release = tuple(map(int, re.findall(r"\d+", _release("torch"))[:2]))
    return NEEDED_SINCE_2_9 if release >= (2, 9) else NEEDED


def error_of(choice: ModelChoice, exit_code: int, free: Optional[int]) -> Optional[NanofleetError]:
    """The error of an export that was killed or has crashed; None if it ended in another way.

    Args:
        choice: whose export.
        exit_code: of its process.
        free: MiB that were free before.
    """
    how = f"{choice.model}: the process that exports it {how_it_ended(exit_code)}"
    if exit_code == -signal.SIGKILL:
        return NanofleetError(f"{how}, as the system does when memory runs out; {_too_much(choice, free)}")
    # torch 2.10 did so on a Raspberry Pi 4, as onnxruntime 1.21 did, which sees what was exported.
    builds = f"torch {_release('torch')} or onnxruntime {_release('onnxruntime')}"
    if exit_code == -signal.SIGILL:
        return SettingsError(
            f"{how}: {builds} has instructions that this machine's processor does not know. Install another "
            f"release, or {_elsewhere(choice)}"
        )
    if exit_code == -signal.SIGABRT:  # what C++ does that is refused memory (std::bad_alloc), among others
        had = "" if free is None else f"; {free} MiB were free, swap included"
        return NanofleetError(
            f"{how}: either it was refused memory, of which it takes {needed()} MiB or more{had}, or "
            f"{builds} fails here. Give it more (ulimit -v and -d limit it, too), install another release, "
            f"or {_elsewhere(choice)}"
        )
    if -exit_code in CRASHES:
        return NanofleetError(
            f"{how}, and a worker that runs PyTorch itself would, too: {builds} fails here. Install another "
            f"release, or {_elsewhere(choice)}"
        )
    return None


def out_of_memory(choice: ModelChoice, free: Optional[int]) -> NanofleetError:
    """The error of an export that was refused memory."""
    return NanofleetError(
        f"{choice.model}: there is too little memory to export it; {_too_much(choice, free)}"
    )


def _too_much(choice: ModelChoice, free: Optional[int]) -> str:
    had = "" if free is None else f"; {free} MiB were free, swap included"
    return (
        f"torch {_release('torch')} takes {needed()} MiB or more for it, and not much less to run the model "
        f"itself{had}. Add swap, or {_elsewhere(choice)}"
    )


def _elsewhere(choice: ModelChoice) -> str:
    return (
        f"export it on another machine ({export_command(choice)}), and serve that file here "
        "(--model FILE.onnx)"
    )


def _release(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # it was installed without pip
        return "?"
