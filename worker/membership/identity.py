"""A worker's id: stable across restarts, because the broker keeps its frames under that name."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path
from typing import IO, Iterator, Optional, Sequence, Tuple

from wire import private
from wire.errors import DuplicateMember, failure_of
from wire.files import lock

_MOST_ON_ONE_HOST = 256


@contextlib.contextmanager
def claim_worker_id(state_dir: Path, worker_id: Optional[str]) -> Iterator[str]:
    """Hold an id for as long as the block lasts, by a lock that ends with the process.

    Without `worker_id`, it is the host's name, with -2, -3, … for the next workers on the same host: started
    again, they find the same names.

    Raises:
        DuplicateMember: the id that was asked for is held by another process on this machine.
        NanofleetError: the state directory cannot be written.
    """
    host = host_id()
    candidates = [worker_id] if worker_id else [host, *(f"{host}-{n}" for n in range(2, _MOST_ON_ONE_HOST))]
    try:
        candidate, held = _lock_first_free(state_dir, candidates)
    except OSError as error:
        raise failure_of(f"--state-dir {state_dir}", error) from None
    with held:
        yield candidate


def host_id() -> str:
    """The host's name, as far as an id may hold it, with room for a number."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().split(".")[0])[:60] or "worker"


def _lock_first_free(state_dir: Path, candidates: Sequence[str]) -> Tuple[str, IO[str]]:
    private.make_folder(state_dir)
    for candidate in candidates:
        file = state_dir / f"{candidate}.lock"
        held = lock(file)
        if held is not None:
            held.truncate(0)
            held.write(str(os.getpid()))
            held.flush()
            return candidate, held
        holder = file.read_text(encoding="ascii").strip()
    raise DuplicateMember(
        f"a worker called {candidates[0]!r} already runs on this machine (process {holder}); "
        "give each its own --worker-id"
    )
