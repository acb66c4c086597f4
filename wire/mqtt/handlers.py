"""What a connection's handlers raise: whatever it is, it does not count as a lost connection."""

from __future__ import annotations

import contextlib
from typing import Iterator


class HandlerFailed(Exception):
    """A handler raised an OSError, of a file of its own, say."""


@contextlib.contextmanager
def in_handler() -> Iterator[None]:
    """Raise a handler's OSError as a HandlerFailed: the connection is not what has failed."""
    try:
        yield
    except OSError as error:
        raise HandlerFailed(f"{type(error).__name__}: {error}") from error
