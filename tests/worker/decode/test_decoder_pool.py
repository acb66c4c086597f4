"""The pool of decoders: each payload's outcome, once, and slots that bound what is decoded."""

from __future__ import annotations

import queue
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.worker.decode.pools import (
    RECIPE,
    Outcome,
    Outcomes,
    decode_here,
    decoders,
    open_pool,
    stop,
    the_decoder,
)
from wire.decoder.process import ROOM
from worker.decode.pool import DecoderPool, Pixels
from worker.decode.preprocessing import Preprocessing
from worker.errors import CorruptImage, EmptyPayload, ImageTooLarge, NotAnImage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_pixels_are_those_of_decode(outcomes: Outcomes, photos: Path) -> None:
    names = ["coffee.png", "rocket.jpg", "logo.png", "text.png", "chelsea.png", "camera.png"]
    with open_pool(outcomes, processes=2, slots=len(names)) as pool:
        for name in names:
            pool.submit(name, (photos / name).read_bytes())
        done = dict(outcomes.next() for _ in names)
    assert sorted(done) == sorted(names)
    for name, outcome in done.items():  # closed, and still there
        assert isinstance(outcome, Pixels)
        expected = decode_here((photos / name).read_bytes())
        assert outcome.array.shape == (224, 224, 3)
        assert outcome.array.dtype == np.uint8
        assert outcome.array.tobytes() == expected.pixels
        assert (outcome.width, outcome.height) == (expected.width, expected.height)
        assert 0 < outcome.decode_ms < 5000


@pytest.mark.parametrize(
    ("payload", "error"),
    [(b"", EmptyPayload), (b"hello", NotAnImage), (b"\xff\xd8\xff" + bytes(99), CorruptImage)],
)
def test_a_bad_payload_is_a_frame_error(
    outcomes: Outcomes, photo: bytes, payload: bytes, error: type
) -> None:
    with open_pool(outcomes, slots=1) as pool:
        pid = the_decoder()
        for number in range(3):
            pool.submit(f"bad {number}", payload)
        pool.submit("good", photo)
        for number in range(3):
            job, outcome = outcomes.next()
            assert job == f"bad {number}"
            assert type(outcome) is error
            assert str(outcome)
        outcomes.pixels()
        assert the_decoder() == pid, "a bad payload needs no new process"


def test_pictures_that_fit_the_shared_memory_and_larger_ones_come_in_turn(
    outcomes: Outcomes, photo: bytes
) -> None:
    expected = decode_here(photo).pixels
    with open_pool(outcomes, slots=1) as pool:
        pid = the_decoder()
        for size in (len(photo), ROOM, ROOM + 1, 3 * ROOM, ROOM - 1, len(photo)):
            pool.submit("frame", photo + bytes(size - len(photo)))
            assert outcomes.pixels().array.tobytes() == expected
        assert the_decoder() == pid


def test_max_pixels(outcomes: Outcomes, photo: bytes) -> None:
    with open_pool(outcomes, max_pixels=200_000) as pool:
        pool.submit("frame", photo)
        _, outcome = outcomes.next()
    assert isinstance(outcome, ImageTooLarge)
    assert "640 x 427" in str(outcome)


def test_what_is_missing_is_said(outcomes: Outcomes, photo: bytes) -> None:
    with open_pool(outcomes, slots=3) as pool:
        for name, payload in {"whole": photo, "no end": photo[:-2], "cut": photo[:-4000]}.items():
            pool.submit(name, payload)
            job, outcome = outcomes.next()
            assert isinstance(outcome, Pixels)
            assert (job, outcome.complete) == (name, name != "cut")


@pytest.mark.parametrize(
    "recipe",
    [
        Preprocessing(256, 96, fit="squeeze", width=160, channels="bgr"),
        Preprocessing(256, 160, "bicubic", fit="pad", width=96, channels="gray"),
        Preprocessing(256, 224, channels="bgr"),
    ],
    ids=lambda recipe: f"{recipe.fit}-{recipe.channels}",
)
def test_the_whole_recipe_reaches_the_process(
    outcomes: Outcomes, photo: bytes, recipe: Preprocessing
) -> None:
    with open_pool(outcomes, recipe=recipe) as pool:
        pool.submit("frame", photo)
        pixels = outcomes.pixels()
        assert pixels.array.shape == recipe.shape
        assert pixels.array.tobytes() == decode_here(photo, recipe).pixels


def test_decoding_waits_for_a_free_slot(outcomes: Outcomes, photos: Path) -> None:
    names = ["rocket.jpg", "coffee.png", "chelsea.png", "camera.png"]
    with open_pool(outcomes, processes=2, slots=2) as pool:
        for name in names:
            pool.submit(name, (photos / name).read_bytes())
        first, second = outcomes.next(), outcomes.next()
        assert outcomes.none_within(0.2), "there are but two slots"
        for name, outcome in (first, second):
            assert isinstance(outcome, Pixels)
            expected = decode_here((photos / name).read_bytes())
            assert outcome.array.tobytes() == expected.pixels
        assert isinstance(first[1], Pixels)
        for _ in range(3):
            first[1].release()
        third = outcomes.next()
        assert isinstance(third[1], Pixels)
        assert outcomes.none_within(0.2), "a slot was given back twice"
        third[1].release()
        outcomes.pixels()


def test_close_while_busy(outcomes: Outcomes, photo: bytes) -> None:
    with open_pool(outcomes, processes=2, slots=1, timeout=3600) as pool:
        for pid in decoders():
            stop(pid)
        for number in range(50):
            pool.submit(f"{number}", photo)
        time.sleep(0.1)
        began = time.monotonic()
        pool.close()
        assert time.monotonic() - began < 60
        assert not decoders()
    assert outcomes.none_within(0.1), "dropped jobs have no outcome"


def test_close_before_anything_was_opened() -> None:
    DecoderPool[str](RECIPE, processes=1, slots=1, on_done=print, on_failure=print).close()


def test_a_callback_that_raises_is_told(photo: bytes) -> None:
    failures: queue.Queue[BaseException] = queue.Queue()

    def on_done(job: str, outcome: Outcome) -> None:
        raise RuntimeError(job)

    with DecoderPool(RECIPE, processes=1, slots=1, on_done=on_done, on_failure=failures.put) as pool:
        pool.submit("frame", photo)
        failure = failures.get(timeout=60)
        assert isinstance(failure, RuntimeError)
        assert str(failure) == "frame"
    assert not decoders()
