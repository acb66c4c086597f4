"""Close calls: pictures of which half precision does not know the label; float32 answers those again.

A picture's gap is the log of its best probability over the second, which is the gap of their logits. Rounding
moves it by about as much in all pictures, whatever they show: so what is ahead by more has the same label in
float32, and only what is not has to be asked for.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Tuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.engines.base import ROUNDED, Engine, Pick

T = TypeVar("T")
_Rows = NDArray[np.float32]

#: A gap is close that is less than so many times what rounding does to gaps. Of 1,000 parts of photos, all
#: then had float32's label of efficientnet_lite0 and ResNet-18, and all but 1 of MobileNet v2 with seeded
#: weights, to which most is close; with 1.5 it was all but 4.
TIMES = 2.0
#: The share of pictures that may be close calls. Of more, gaps say nothing of labels, and float32 alone takes
#: less time: where half precision took 0.55 of its time, from a share of 0.45 on.
MOST_CLOSE = 0.5
#: Pictures that the exact engine runs together, at most, if it is OpenVINO: a batch has few close calls, and
#: graphs for more would take a fifth of the memory of both engines.
AGAIN_TOGETHER = 2
#: Batches of which that share is the (exponential) average, and those that float32 then answers alone.
RECENT, ALONE = 16, 15


class Chosen(NamedTuple):
    """What is to run a model: one engine, or two."""

    pick: Pick
    #: What answers its close calls again, and the least gap that is none.
    again: Optional[Pick] = None
    margin: float = 0

    def opened(self, open_it: Callable[[Pick], Tuple[T, Engine]]) -> Tuple[T, Engine]:
        """Open a model with it.

        Args:
            open_it: opens it with one engine; returns something of the model as well, which is float32's.
        """
        if self.again is None:
            return open_it(self.pick)
        about, exact = open_it(self.again._replace(together=AGAIN_TOGETHER))
        _, quick = open_it(self.pick)
        return about, CloseCalls(quick, exact, self.margin)


class CloseCalls:
    """See `worker.engines.base.Engine`. A quick engine answers, and an exact one again what is close.

    While most is, as in the dark, where a model knows nothing, the exact one answers alone but for a look.
    """

    def __init__(self, quick: Engine, exact: Engine, margin: float) -> None:
        """Take two engines of one model, whose classes sum to 1.

        Args:
            quick: answers all pictures.
            exact: answers those again that are close.
            margin: the least gap that is not; see `margin_of`.
        """
        self._quick, self._exact, self._margin = quick, exact, margin
        self.name, self.device, self.why = quick.name, quick.device, quick.why
        self.at_once = quick.at_once
        self._count: Callable[[int], object] = lambda exactly: None
        # Threads share these without a lock: to miss one of their batches does no harm.
        self._share, self._alone = 0.0, 0

    def count_by(self, count: Callable[[int], object]) -> None:
        """Have pictures counted that the exact engine answered, in any thread."""
        self._count = count

    def warm_up(self) -> None:
        """See Engine."""
        self._quick.warm_up()
        self._exact.warm_up()

    def infer(self, batch: NDArray[np.uint8]) -> _Rows:
        """See Engine. Rows are float32's, or half precision's, as a whole."""
        rows, again = self.answer(batch)
        if again.any():
            self._count(int(again.sum()))
        return rows

    def answer(self, batch: NDArray[np.uint8]) -> Tuple[_Rows, NDArray[np.bool_]]:
        """See `infer`: the rows, and which of them are the exact engine's, bool [N]; it counts nothing."""
        if self._alone > 0:
            self._alone -= 1
            return self._exact.infer(batch), np.ones(len(batch), np.bool_)
        rows = self._quick.infer(batch)
        close = are_close(rows, self._margin)
        self._share += (float(close.mean()) - self._share) / RECENT
        if self._share > MOST_CLOSE:
            self._alone = ALONE
        if close.all():
            return self._exact.infer(batch), close
        if close.any():
            rows = rows.copy()
            rows[close] = self._exact.infer(batch[close])
        return rows, close


def are_close(rows: _Rows, margin: float) -> NDArray[np.bool_]:
    """Which rows of probabilities are close calls, or no probabilities at all: bool [N].

    Args:
        rows: float32 [N, classes], two classes or more.
        margin: the least gap that is not close.
    """
    second, best = np.partition(rows, -2, axis=1)[:, -2:].T
    with np.errstate(all="ignore"):
        clear = np.log(best) - np.log(second) >= margin  # False of what is no number
        close: NDArray[np.bool_] = ~(clear & np.isfinite(rows.sum(1)))
    return close


def margin_of(quick: _Rows, exact: _Rows) -> Optional[float]:
    """The gap from which on labels are the same, by both answers to many pictures.

    Args:
        quick: float32 [N, classes], of the quick engine.
        exact: the same of the exact one.

    Returns:
        None where gaps tell nothing: of a single output, of classes that each stand by themselves, or where
        no picture has one in both.
    """
    if quick.shape != exact.shape or exact.shape[1] < 2:
        return None
    with np.errstate(all="ignore"):  # of a probability of 0, and of what is none
        sums = exact.sum(1)
        if (np.abs(sums[np.isfinite(sums)] - 1) > ROUNDED).any():
            return None
        two = np.argpartition(quick, -2, axis=1)[:, -2:]
        ours, theirs = (np.diff(np.log(np.take_along_axis(rows, two, 1)), axis=1) for rows in (quick, exact))
        moved = ours - theirs
    moved = moved[np.isfinite(moved)]
    return TIMES * float(np.sqrt(np.mean(moved**2))) if len(moved) else None
