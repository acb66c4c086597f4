"""Continuous batching: the engine takes what is ready the moment it is free, or is just about to be."""

from __future__ import annotations

import queue
import time
from typing import Any, Callable, Generic, List, Optional, TypeVar

T = TypeVar("T")

#: No item: it wakes who waits for one.
_LOOK_AGAIN: Any = object()
#: A batch waits for what is about to come no longer than this: some pictures take their decoder long.
MAX_WAIT_SECONDS = 0.05


class Batcher(Generic[T]):
    """A queue that hands out batches. What bounds it is the window of those who fill it."""

    def __init__(
        self, max_batch: int, max_delay: float, more_to_come: Callable[[T], bool] = lambda first: False
    ) -> None:
        """Begin with an empty queue.

        Args:
            max_batch: items in a batch, at most.
            max_delay: seconds to wait for more once there is one; 0 answers an idle fleet at once.
            more_to_come: whether others like the first of a batch are queued before this queue, so that
                waiting for them is worth it.
        """
        self._max_batch = max_batch
        self._max_delay = max_delay
        self._more_to_come = more_to_come
        self._ready: queue.SimpleQueue[Optional[T]] = queue.SimpleQueue()

    def put(self, item: T) -> None:
        """Add an item, from any thread."""
        self._ready.put(item)

    def close(self) -> None:
        """Make `take` return an empty batch, once what was put before has been taken."""
        self._ready.put(None)

    def look_again(self) -> None:
        """Have `take` ask again whether more is to come: something that was has gone another way."""
        self._ready.put(_LOOK_AGAIN)

    def take(self) -> List[T]:
        """Wait for a batch of 1 to `max_batch` items; empty means closed. In one thread at a time."""
        batch: List[T] = []
        began = 0.0
        while len(batch) < self._max_batch:
            try:
                if not batch:
                    item = self._ready.get()
                    began = time.monotonic()
                else:
                    expected = self._more_to_come(batch[0])
                    delay = max(self._max_delay, MAX_WAIT_SECONDS) if expected else self._max_delay
                    left = max(0.0, began + delay - time.monotonic()) if delay else 0.0
                    item = self._next(left)
            except queue.Empty:
                break
            if item is None:
                if batch:
                    self.close()
                break
            if item is not _LOOK_AGAIN:
                batch.append(item)
        return batch

    def _next(self, seconds: float) -> Any:
        """The next item.

        A timed `get` of a SimpleQueue waits for ever if its time is over once it holds the queue's lock, for
        which a microsecond suffices (CPython 3.8 to 3.13). One that does not wait leaves the lock taken, so
        that only an item frees it.

        Raises:
            queue.Empty: none has come within these seconds.
        """
        try:
            return self._ready.get(block=False)
        except queue.Empty:
            if seconds <= 0:
                raise
        return self._ready.get(timeout=seconds)
