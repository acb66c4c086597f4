"""What a connection's handlers raise: whatever it is, it does not count as a lost connection."""

from __future__ import annotations

from typing import Optional, Type


class HandlerFailed(Exception):
    """A handler raised an OSError, of a file of its own, say."""


class _InHandler:
    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: object
    ) -> None:
        if isinstance(error, OSError):
            raise HandlerFailed(f"{type(error).__name__}: {error}") from error


#: `with in_handler:` raises a handler's OSError as a HandlerFailed: the connection is not what has failed.
in_handler = _InHandler()
