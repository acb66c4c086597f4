"""JPEGs as cameras and programs write them, what stands behind one that was cut, and how it is judged."""

from __future__ import annotations

import io
from typing import Any, Callable, Dict, Union

from PIL import Image

from wire.picture.decoding import decode_picture
from wire.picture.errors import Undecodable

EOI = b"\xff\xd9"
#: Ways in which the encoders of cameras and programs differ.
ENCODERS: Dict[str, Dict[str, Any]] = {
    "4:2:0": {},
    "4:2:2": {"subsampling": 1},
    "4:4:4": {"subsampling": 0},
    "optimised": {"optimize": True},
    "restarts": {"restart_marker_blocks": 10},
    "a restart each row": {"restart_marker_rows": 1},
    "a restart each block": {"restart_marker_blocks": 1, "subsampling": 0},
    "progressive": {"progressive": True},
    "progressive with restarts": {"progressive": True, "restart_marker_blocks": 7},
}
#: What senders leave behind the last byte of a picture that was cut.
TAILS: Dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda cut: cut,
    "an end marker": lambda cut: cut + EOI,
    "half an end marker": lambda cut: cut + b"\xff",
    "a newline": lambda cut: cut + b"\n",
    "a boundary": lambda cut: cut + b"\r\n--frame--\r\n",
    "a page of text": lambda cut: cut + b"\r\nGuru Meditation Error: Core 1 panicked\r\n" * 300,
    "ff": lambda cut: cut + b"\xff" * 300,
    "ff and an end marker": lambda cut: cut + b"\xff" * 300 + EOI,
    "zeros": lambda cut: cut + bytes(300),
    "zeros and a newline": lambda cut: cut + bytes(3000) + b"\r\n",
    "spaces": lambda cut: cut + b" " * 64,
    "the next picture": lambda cut: cut + cut + EOI,
    "the next part of a stream": lambda cut: cut + b"\r\n--f\r\nContent-Type: image/jpeg\r\n\r\n" + cut + EOI,
}
#: Those that put an end marker right behind the cut.
MARKED = (TAILS["an end marker"], TAILS["ff and an end marker"])
SMALL = 8.0  # times that a picture may be reduced


def encode(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **{"quality": 88, **options})
    return buffer.getvalue()


def judge(payload: bytes, reduce: float = 1.0) -> Union[bool, str]:
    """Whether a picture is complete, or why it is rejected."""
    try:
        return decode_picture(payload, reduce=lambda width, height: reduce).complete
    except Undecodable as error:
        return error.detail if error.reason == "corrupt_image" else error.reason
