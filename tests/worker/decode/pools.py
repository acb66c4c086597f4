"""Pools of decoders, and the processes that they have."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple, Union

from tests.harness import wait_for
from worker.decode.decoder import Limits, simd_is_fit
from worker.decode.image import Decoded, decode
from worker.decode.pool import DecoderPool, Pixels
from worker.decode.preprocessing import Preprocessing
from worker.decode.resizing import by_pillow, open_simd
from worker.errors import FrameError

RECIPE = Preprocessing(resize=256, crop=224)
Outcome = Union[Pixels, FrameError]


def decode_here(payload: bytes, recipe: Preprocessing = RECIPE, **options: Any) -> Decoded:
    """What a decoder makes of a picture, without its process."""
    return decode(payload, recipe, **options, resize=open_simd() if simd_is_fit() else by_pillow)


class Outcomes:
    """What a pool said about its jobs, in the order in which it did."""

    def __init__(self) -> None:
        self._done: queue.Queue[Tuple[str, Outcome]] = queue.Queue()
        self.failures: List[BaseException] = []

    def put(self, job: str, outcome: Outcome) -> None:
        self._done.put((job, outcome))

    def next(self, timeout: float = 60) -> Tuple[str, Outcome]:
        return self._done.get(timeout=timeout)

    def none_within(self, seconds: float) -> bool:
        try:
            self._done.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def pixels(self) -> Pixels:
        """The next outcome, which is an image; its slot is given back."""
        job, outcome = self.next()
        assert isinstance(outcome, Pixels), (job, outcome)
        outcome.release()
        return outcome


@contextlib.contextmanager
def open_pool(
    outcomes: Outcomes, processes: int = 1, slots: int = 4, recipe: Preprocessing = RECIPE, **limits: Any
) -> Iterator[DecoderPool[str]]:
    with DecoderPool(
        recipe,
        processes=processes,
        slots=slots,
        on_done=outcomes.put,
        on_failure=outcomes.failures.append,
        limits=Limits(**limits),
    ) as pool:
        yield pool
    assert not outcomes.failures
    assert not decoders()


def decoders(parent: int = os.getpid()) -> Dict[int, str]:
    """Process ids of the decoders of a process, zombies too, and their states."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, ppid = (folder / "stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()[:2]
            # A zombie has no command line.
            if int(ppid) == parent and (
                b"worker.decode.process" in (folder / "cmdline").read_bytes() or state == "Z"
            ):
                found[int(folder.name)] = state
    return found


def the_decoder() -> int:
    (pid,) = decoders()
    return pid


def stop(pid: int) -> None:
    """Hang a process."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: decoders()[pid] == "T")
