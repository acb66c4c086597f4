"""What a camera's stable label and its group may be, where that is known and little enough to choose from."""

from __future__ import annotations

import functools
from typing import NamedTuple, Optional, Tuple

from labels.groups import PACKAGED, read_groups
from wire.cameras import CameraSettings
from wire.lengths import MAX_CHOICE


class Vocabulary(NamedTuple):
    """The words beside `none`; None where they may be any.

    Attributes:
        stable: of the stable label.
        group: of the group.
    """

    stable: Optional[Tuple[str, ...]] = None
    group: Optional[Tuple[str, ...]] = None


#: Where nothing is known.
ANYTHING = Vocabulary()


def vocabulary(settings: CameraSettings, labels: Optional[Tuple[str, ...]] = None) -> Vocabulary:
    """What a camera's settings leave open.

    Args:
        settings: the camera's.
        labels: of the models that classify; None where they are many, or not known.
    """
    groups = _packaged(settings.groups) if isinstance(settings.groups, str) else tuple(settings.groups)
    return Vocabulary(_few(groups if settings.stable.of == "group" else labels), _few(groups))


def _few(words: Optional[Tuple[str, ...]]) -> Optional[Tuple[str, ...]]:
    return words if words is not None and sum(map(len, words)) <= MAX_CHOICE else None


@functools.lru_cache(maxsize=None)
def _packaged(name: str) -> Tuple[str, ...]:
    return tuple(read_groups(PACKAGED[name])) if name in PACKAGED else ()
