"""What tests of several processes share: a worker's processes, and what its front ends have answered."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import List, Set

from tests.end_to_end.commanding import answers
from tests.harness import Listener, WorkerProcess, wait_for

TWO = ("--processes", "2", "--decoders", "1")


def ready(worker: WorkerProcess, times: int = 2) -> WorkerProcess:
    """Wait until so many front ends have connected since the beginning."""
    wait_for(
        lambda: worker.log.read_text().count("connected to") >= times or worker.process.poll() is not None,
        what=worker.log.read_text(),
    )
    assert worker.process.poll() is None, worker.log.read_text()
    return worker


def children(pid: int) -> List[int]:
    """The processes that a process has started; none, if it has just ended itself."""
    return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]


def engine_process(worker: WorkerProcess) -> int:
    """The process that runs the model."""
    (pid,) = (pid for pid in children(worker.process.pid) if name(pid) == "engine process")
    return pid


def front_ends(worker: WorkerProcess) -> List[int]:
    """The other ones."""
    return [pid for pid in children(worker.process.pid) if name(pid) != "engine process"]


def name(pid: int) -> str:
    return _read(f"/proc/{pid}/comm").strip()


def _read(file: str) -> str:
    with contextlib.suppress(OSError):
        return Path(file).read_text()
    return ""


def family(worker: WorkerProcess) -> List[int]:
    """All that a worker has started, with what these have."""
    mine = children(worker.process.pid)
    return [*mine, *(grandchild for child in mine for grandchild in children(child))]


def answered(listener: Listener) -> Set[str]:
    return {answer.frame_id for answer in answers(listener)}
