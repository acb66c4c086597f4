"""All kinds of messages that nobody should send, each with what may come of it.

files               none of JPEG, PNG and WebP
pngs jpegs webps    broken, lying and exploding ones; and odd ones that do show a picture
envelopes           JSON around an image, or around anything else
messages            properties beside a good picture; topics that name no camera
"""

from __future__ import annotations

from typing import List

from tests.faults.hostile.envelopes import envelopes, envelopes_of_nonsense
from tests.faults.hostile.files import other_formats
from tests.faults.hostile.jpegs import jpeg_bombs, jpegs
from tests.faults.hostile.kind import Kind
from tests.faults.hostile.messages import beside
from tests.faults.hostile.pngs import png_bombs, pngs
from tests.faults.hostile.webps import webps


def corpus(jpeg: bytes, png: bytes, webp: bytes, replies: str) -> List[Kind]:
    """All kinds that are to be answered.

    Args:
        jpeg: a small good picture.
        png: another.
        webp: another.
        replies: the topic below which response topics are followed, `nanofleet/replies/camera`.
    """
    return [
        *other_formats(),
        *pngs(png),
        *png_bombs(),
        *jpegs(jpeg),
        *jpeg_bombs(),
        *webps(webp),
        *envelopes(jpeg),
        *envelopes_of_nonsense(jpeg),
        *beside(jpeg, replies),
    ]
