"""ONNX files are tried before a worker opens them: they may be by anyone, and are programs.

FILE.onnx ── trial_process, with limits of time and memory ──> the SHA-256 of what was tried ──> open_model
             └─ opened, settled, warmed up, as the worker does it

A graph that never ends, or takes all memory, then costs a child process, and not a worker that serves.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.engines.base import EngineName
from worker.engines.child import how_it_ended, run_child
from worker.engines.limits import SECONDS_PER_CPU_SECOND
from worker.engines.onnx.files import OtherBytes, is_onnx
from worker.engines.select import runs_on_cpu


@contextlib.contextmanager
def tried(
    choice: ModelChoice,
    *,
    trusted: bool,
    engine: EngineName,
    device: str,
    max_batch: int,
    weights_dir: Path,
    seconds: float,
    stop: Optional[threading.Event] = None,
) -> Iterator[ModelChoice]:
    """Try a model, if it is an ONNX file; yields the choice to open, pinned to the bytes that were tried.

    Args:
        choice: which model; any but an ONNX file is yielded as it is.
        trusted: whether this machine's own settings pin it, not a command: then it is not tried.
        engine: as for `open_model`, which the block calls.
        device: the same. The trial is on the CPU in any case: another place may not take two.
        max_batch: frames in a batch, at most.
        weights_dir: where weights and exports are kept.
        seconds: of a processor's time, for all of it.
        stop: set to give it up.

    Raises:
        SettingsError: the file takes too much time or memory, or cannot be opened.
        NanofleetError: the trial was ended by somebody, or `stop` was set; or the file was replaced.
    """
    if trusted or not is_onnx(choice.model):
        yield choice
        return
    on_cpu = runs_on_cpu(choice, engine, device)
    arguments = [choice.model_dump_json(), engine, str(max_batch), str(weights_dir.resolve())]
    reply = _run(choice.model, arguments, seconds, stop)
    _check(choice.model, reply, seconds, on_cpu)
    try:
        yield choice.model_copy(update={"sha256": reply.get("sha256", choice.sha256)})
    except OtherBytes as error:
        if choice.sha256 is not None:
            raise
        raise NanofleetError(f"{choice.model} was replaced while it was loaded: try again") from error


def _run(path: str, arguments: List[str], seconds: float, stop: Optional[threading.Event]) -> Dict[str, Any]:
    """Run the process that tries a file; returns what it says, see `run_child`."""
    try:
        return run_child(
            "worker.engines.trial_process",
            [*arguments, str(seconds), str(Path.cwd())],
            stop=stop,
            seconds=(seconds + 1) * SECONDS_PER_CPU_SECOND,
        )
    except TimeoutError:
        raise SettingsError(_endless(path, seconds)) from None


def _check(path: str, reply: Dict[str, Any], seconds: float, on_cpu: bool) -> None:
    if "sha256" in reply:
        return
    if reply.get("kind") == "memory":
        raise SettingsError(
            f"{path} wanted more than {reply['megabytes']} MiB of memory when it was tried: it is damaged, "
            f"or made to take all there is. If it is only large, {_PIN}"
        )
    if "error" in reply:
        if not on_cpu:  # it may have operators that only a GPU has: who opens it will see
            return
        raise (SettingsError if reply["kind"] == "settings" else NanofleetError)(reply["error"])
    code = reply["exit_code"]
    if code == -signal.SIGXCPU:
        raise SettingsError(_endless(path, seconds))
    if code == -signal.SIGKILL:
        raise NanofleetError(
            f"the process that tried {path} {how_it_ended(code)}, as the system does when memory runs out"
        )
    raise SettingsError(f"the process that tried {path} {how_it_ended(code)}: it is damaged, or an attack")


_PIN = "--sha256 pins a file that you trust, which a worker then takes untried"


def _endless(path: str, seconds: float) -> str:
    return (
        f"{path} ran for more than {seconds:g} s when it was tried: it is damaged, or made to run for ever. "
        f"If it is only slow, --trial-timeout gives it longer, or {_PIN}"
    )
