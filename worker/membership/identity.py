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
#: Characters of the host's name in an id: what follows is -255, or -p255-64.
_MOST_OF_HOST, _MOST_OF_HOST_OF_SEVERAL = 60, 56


@contextlib.contextmanager
def claim_worker_id(state_dir: Path, worker_id: Optional[str]) -> Iterator[str]:
    """Hold an id for as long as the block lasts, by a lock that ends with the process.

    Without `worker_id`, it is the host's name, with -2, -3, … for the next workers on the same host: started
    again, they find the same names.

    Raises:
        DuplicateMember: the id that was asked for is held by another process on this machine.
        NanofleetError: the state directory cannot be written.
    """
    host = _host_id(_MOST_OF_HOST)
    numbered = (f"{host}-{number}" for number in range(2, _MOST_ON_ONE_HOST))
    candidate, held = _lock_first_free(state_dir, [worker_id] if worker_id else [host, *numbered])
    with held:
        yield candidate


@contextlib.contextmanager
def claim_shared_id(state_dir: Path) -> Iterator[str]:
    """Hold an id whose front ends are told apart by a number behind it; see `claim_worker_id`.

    It is the host's name with -p, and with -p2, -p3, … for the next on the same host: neither is the name of
    a worker by itself, nor are its front ends' (HOST-p-1).
    """
    host = _host_id(_MOST_OF_HOST_OF_SEVERAL)
    numbered = (f"{host}-p{number}" for number in range(2, _MOST_ON_ONE_HOST))
    candidate, held = _lock_first_free(state_dir, [f"{host}-p", *numbered])
    # Processes that outlive this one for a moment must not keep the id from the next.
    os.register_at_fork(after_in_child=held.close)
    with held:
        yield candidate


def _host_id(longest: int) -> str:
    """The host's name, as far as an id may hold it."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().split(".")[0])[:longest] or "worker"


def _lock_first_free(state_dir: Path, candidates: Sequence[str]) -> Tuple[str, IO[str]]:
    try:
        private.make_folder(state_dir)
        for candidate in candidates:
            file = state_dir / f"{candidate}.lock"
            held = lock(file)
            if held is not None:
                with contextlib.ExitStack() as undo:
                    undo.enter_context(held)
                    held.truncate(0)
                    os.write(held.fileno(), str(os.getpid()).encode())
                    undo.pop_all()
                return candidate, held
            holder = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise failure_of(f"--state-dir {state_dir}", error) from None
    raise DuplicateMember(
        f"a worker called {candidates[0]!r} already runs on this machine (process {holder}); "
        "give each its own --worker-id"
    )
