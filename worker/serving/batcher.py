"""Continuous batching: the engine takes what is ready the moment it is free, or is just about to be."""

from __future__ import annotations

import enum
import queue
import time
from typing import Callable, Generic, List, TypeVar, Union

T = TypeVar("T")

#: A batch waits for what is about to come no longer than this: some pictures take their decoder long.
MAX_WAIT_SECONDS = 0.05


class _Signal(enum.Enum):
    """What is no item of the queue."""

    CLOSED = enum.auto()
    LOOK_AGAIN = enum.auto()


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
        self._ready: queue.SimpleQueue[Union[T, _Signal]] = queue.SimpleQueue()

    def put(self, item: T) -> None:
        """Add an item, from any thread."""
        self._ready.put(item)

    def close(self) -> None:
        """Make `take` return an empty batch, once what was put before has been taken."""
        self._ready.put(_Signal.CLOSED)

    def look_again(self) -> None:
        """Have `take` ask again whether more is to come: something that was has gone another way."""
        self._ready.put(_Signal.LOOK_AGAIN)

    def take(self) -> List[T]:
        """Wait for a batch of 1 to `max_batch` items; empty means closed."""
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
                    item = self._ready.get(timeout=max(0.0, began + delay - time.monotonic()))
            except queue.Empty:
                break
            if item is _Signal.CLOSED:
                if batch:
                    self.close()
                break
            if not isinstance(item, _Signal):
                batch.append(item)
        return batch
