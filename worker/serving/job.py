"""One picture's path through decoders and engine, which know nothing else of it."""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Tuple, Union

from wire.picture.region import WHOLE, Region
from worker.decode.pool import Pixels
from worker.errors import FrameError
from worker.models.info import Model
from worker.serving.groups import Grouping, Scores


class Classified(NamedTuple):
    """A model's answer to a picture."""

    model: Model
    #: Classes and their confidences, the best first.
    best: List[Tuple[int, float]]
    #: The labels of all that is seen, by a model of several labels.
    seen: Optional[Tuple[str, ...]]
    #: The likeliest groups, where some are wanted and the model has labels of them.
    groups: Optional[Scores]
    #: Pixels of the whole image as it was sent, upright.
    width: int
    height: int
    #: False where a part of the image was missing.
    complete: bool
    #: When the engine began the batch, by `time.perf_counter()`.
    began: float
    decode_seconds: float
    inference_seconds: float
    batch_size: int
    #: The frame of which this is the answer, if the engine has not run for this one.
    repeats: Optional[str] = None

    @property
    def label(self) -> str:
        """The best class by its name."""
        return self.model.classes[self.best[0][0]]


Outcome = Union[Classified, FrameError]


def never(model: Model, pixels: Pixels) -> None:
    """No earlier answer is a picture's."""


def nothing() -> None:
    """Nobody waits for it."""


class Job(NamedTuple):
    """The callbacks of a picture that is decoded and classified.

    Attributes:
        check: raises the FrameError of a picture that is too late to be classified.
        done: gets what came of it, once, in a thread of the decoders or of the engine.
        flush: called in that thread after `done`; the jobs of a batch that share one get one call.
        region: the part of the picture that is classified.
        grouping: the groups of labels that are wanted as well.
        repeat: an earlier answer by this model that the decoded picture may have as well; None for none.
        sent: called last: `flush` has sent the answer off, and whatever is flushed later comes after it.
    """

    check: Callable[[], None]
    done: Callable[[Outcome], None]
    flush: Callable[[], None]
    region: Region = WHOLE
    grouping: Optional[Grouping] = None
    repeat: Callable[[Model, Pixels], Optional[Classified]] = never
    sent: Callable[[], None] = nothing
