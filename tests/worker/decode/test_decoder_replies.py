"""A decoder that a picture has taken over replies what it likes: it costs that picture's frame."""

from __future__ import annotations

import sys
from typing import Callable

import pytest

from tests.exploit import picture
from tests.worker.decode.attacked import LOOK_AROUND, Attacked
from wire.decoder.process import REPLY
from worker.decode.pool import Pixels
from worker.errors import DecoderCrashed, NotAnImage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fence is Linux's")


def reply(reason: bytes = b"", detail: bytes = b"", size: int = 0, milliseconds: float = 1.0) -> bytes:
    return REPLY.pack(reason, detail, size, 640, 480, milliseconds, True)


@pytest.mark.parametrize(
    "said",
    [
        b"\xff" * REPLY.size,
        reply(b"no_reason"),
        reply(b"cannot_start"),
        reply(b"corrupt_image", b"caf\xe9"),
        reply(b"corrupt_image", b"two\nlines"),
        reply(size=1 << 30),
        reply(milliseconds=float("nan")),
        reply(milliseconds=-1.0),
        reply(milliseconds=1e300),
    ],
    ids=["noise", "reason", "start", "not ASCII", "lines", "size", "not a number", "negative", "long ago"],
)
def test_a_reply_that_cannot_be_read_costs_one_frame(
    attacked: Callable[..., Attacked], photo: bytes, said: bytes
) -> None:
    pool = attacked()
    outcome = pool.decode(picture(LOOK_AROUND + f"os.write(replies, {said!r})"))
    assert isinstance(outcome, DecoderCrashed)
    assert str(outcome) == "the decoder process gave a reply that cannot be read"
    assert isinstance(pool.decode(photo), Pixels)


def test_a_decoder_that_replies_unasked_is_replaced(attacked: Callable[..., Attacked], photo: bytes) -> None:
    """Else each of its answers would be taken for the next picture's."""
    pool = attacked()
    twice = 2 * reply(b"not_an_image", b"said twice")
    outcome = pool.decode(picture(LOOK_AROUND + f"os.write(replies, {twice!r})"))
    assert isinstance(outcome, NotAnImage)
    assert isinstance(pool.decode(photo), Pixels)


def test_a_decoder_that_ends_itself_costs_one_frame(attacked: Callable[..., Attacked], photo: bytes) -> None:
    pool = attacked()
    for number in range(3):
        outcome = pool.decode(picture(f"os._exit({number})"))
        assert isinstance(outcome, DecoderCrashed)
        assert str(outcome) == f"the decoder process ended with exit code {number}"
        assert isinstance(pool.decode(photo), Pixels)
