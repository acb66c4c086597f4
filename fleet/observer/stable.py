"""The stable label: what has held for a while, and is sure enough to act on.

Each frame votes for its best label if that is at least `min_confidence` sure, else for none.

1. A label becomes stable when it has `k` of the last `n` votes. Of two, the one with more; then the later.
2. Once stable it stays, whatever else has `k` votes, as long as both are true of the last `n` frames:
   at least one voted for it, and in at least half of `k` it was close: half as sure as the frame's best
   label, and half as sure as `min_confidence` asks.
3. Else the label that fulfils 1. takes its place, and where there is none, `none`.

So two labels that are about as likely do not take turns: the runner-up stays close in each frame. A label
that is always the runner-up goes after `n` frames, because it has no vote left. One that is no longer seen at
all goes as soon as less than half of `k` frames are left that saw it: with 3 of 5, at the fourth frame.
"""

from __future__ import annotations

import collections
from typing import Deque, Dict, NamedTuple, Optional, Sequence, Tuple

from wire.cameras import NONE, Stability

#: The likeliest labels of a frame that are looked at: what is below them is close to nothing.
MOST_CANDIDATES = 5

#: The likeliest labels of a frame with their confidences, best first; nothing where nothing was seen.
Frame = Sequence[Tuple[str, float]]


class _Seen(NamedTuple):
    """What a frame says by a rule, in the form in which it is asked for with each of the next `n`.

    Attributes:
        frame: it.
        vote: its best label, or none.
        close: the labels that it is close to, with their confidences.
    """

    frame: Frame
    vote: str
    close: Dict[str, float]


def _seen(frame: Frame, rule: Stability) -> _Seen:
    best, sure = frame[0] if frame else (NONE, 0.0)
    vote = best if sure >= rule.min_confidence else NONE
    least = max(sure, rule.min_confidence) / 2
    # Backwards, so that of two classes with the same label (ImageNet has two cranes) the likelier one counts.
    close = {label: confidence for label, confidence in reversed(frame) if confidence >= least}
    return _Seen(frame, vote, close)


class StableLabel:
    """The stable label of one camera, by the frames that it is given.

    Attributes:
        label: the stable label; `none` where there is none.
        confidence: how sure the last frame was of it that was close to it; None where there is none.
    """

    def __init__(self, rule: Stability, label: str = NONE, confidence: Optional[float] = None) -> None:
        """Begin with what was stable before, as if the last `n` frames had all seen it.

        Args:
            rule: k, n and the confidence.
            label: what was stable before.
            confidence: how sure that was.
        """
        self._rule = rule
        self._frames: Deque[_Seen] = collections.deque(maxlen=rule.n)
        self._begin(label, confidence)

    def _begin(self, label: str, confidence: Optional[float]) -> None:
        self.label = label
        self.confidence = confidence if label != NONE else None
        if label != NONE:
            seen = _seen([(label, max(confidence or 0.0, self._rule.min_confidence))], self._rule)
            self._frames.extend([seen] * self._rule.n)

    def resume(self, label: str, confidence: Optional[float]) -> None:
        """Go on as if this had been stable before the frames that it was given; unless one is by now."""
        if self.label == NONE:
            frames = tuple(self._frames)
            self._begin(label, confidence)
            for frame in frames:
                self._take(frame)

    def follow(self, rule: Stability) -> None:
        """Go by another rule from the next frame on."""
        if rule != self._rule:
            self._rule = rule
            seen = (_seen(each.frame, rule) for each in self._frames)
            self._frames = collections.deque(seen, maxlen=rule.n)

    def clear(self) -> None:
        """Forget all frames: nothing is stable."""
        self._frames.clear()
        self.label, self.confidence = NONE, None

    def add(self, frame: Frame) -> bool:
        """Take a frame's labels; returns whether the stable label has changed."""
        return self._take(_seen(frame[:MOST_CANDIDATES], self._rule))

    def _take(self, frame: _Seen) -> bool:
        self._frames.append(frame)
        before = self.label
        if self.label == NONE or not self._holds():
            self.label = self._elected()
        if self.label == NONE:
            self.confidence = None
        else:
            close = (each.close[self.label] for each in reversed(self._frames) if self.label in each.close)
            self.confidence = next(close, self.confidence)
        return self.label != before

    def _holds(self) -> bool:
        close = sum(self.label in each.close for each in self._frames)
        return 2 * close >= self._rule.k and any(each.vote == self.label for each in self._frames)

    def _elected(self) -> str:
        votes: Dict[str, int] = {}
        for each in reversed(self._frames):  # of equals, the later comes first
            votes[each.vote] = votes.get(each.vote, 0) + 1
        votes.pop(NONE, None)
        best = max(votes, key=votes.__getitem__, default=NONE)
        return best if votes.get(best, 0) >= self._rule.k else NONE
