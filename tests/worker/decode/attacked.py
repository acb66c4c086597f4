"""Decoders with a hole, and what an intruder finds in them."""

from __future__ import annotations

import queue
from typing import Tuple

from tests.worker.decode.pools import Outcome
from worker.decode.pool import DecoderPool
from worker.errors import CorruptImage


class Attacked:
    """A pool of decoders that have the hole."""

    def __init__(self, pool: DecoderPool[str], done: queue.Queue[Tuple[str, Outcome]]) -> None:
        self.pool = pool
        self._done = done

    def decode(self, payload: bytes) -> Outcome:
        """What comes of a picture."""
        self.pool.submit("frame", payload)
        return self._done.get(timeout=30)[1]

    def detail(self, payload: bytes) -> str:
        """What a picture that was run tells."""
        outcome = self.decode(payload)
        assert isinstance(outcome, CorruptImage), outcome
        return str(outcome)


#: Has `memory` and `replies`, the shared memory and the pipe, as an intruder would find them in its process.
LOOK_AROUND = """
frame = sys._getframe()
while "memory" not in frame.f_locals or "replies" not in frame.f_locals:
    frame = frame.f_back
memory, replies = frame.f_locals["memory"], frame.f_locals["replies"]
"""
