"""The ids of a camera's last frames, so that a frame that is answered more than once counts once."""

from __future__ import annotations

from typing import Dict, Optional, Union

from wire.messages import Rejection, Result

#: Answers whose frame ids are remembered. A frame that is redelivered after more than so many counts again.
REMEMBERED_IDS = 64


class FrameIds:
    """The last ones."""

    def __init__(self) -> None:
        """Begin without any."""
        #: Whether a result has counted, by the hash of the id: an id may be long.
        self._counted: Dict[int, bool] = {}

    def __contains__(self, frame_id: Optional[str]) -> bool:
        return hash(frame_id) in self._counted

    def add(self, answer: Union[Result, Rejection]) -> bool:
        """Whether an answer counts: the first to its frame, and the first result after rejections."""
        key, is_result = hash(answer.frame_id), isinstance(answer, Result)
        known = self._counted.get(key)
        if known is not None and (known or not is_result):
            return False
        self._counted[key] = is_result
        if len(self._counted) > REMEMBERED_IDS:
            del self._counted[next(iter(self._counted))]
        return True
