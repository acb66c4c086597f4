"""The worker's side of the decoder processes: payloads in, pixels out, whatever the payloads do.

submit ──> jobs ──> one thread per process: take a job, take a slot ──> on_done(job, Pixels)
                    │ payload            ▲ pixels, copied to the slot   on_done(job, FrameError)
                    ▼                    │
                    worker.decode.process, in memory of its own         slots, back by Pixels.release

A process that takes too long is killed, one that dies is replaced; the frame it had is rejected
(`decoder_timeout`, `decoder_crashed`).
"""

from __future__ import annotations

import functools
import queue
import threading
from typing import Callable, Dict, Generic, List, Optional, Tuple, Type, TypeVar, Union

import numpy as np

from wire.decoder.child import Decoded
from wire.decoder.decoder import Closed, Decoder
from wire.picture.errors import Undecodable
from wire.picture.region import WHOLE, Region
from worker.decode.decoder import DEFAULT_LIMITS, Limits, decoder_for
from worker.decode.preprocessing import Preprocessing
from worker.errors import (
    CorruptImage,
    DecoderCrashed,
    DecoderTimeout,
    EmptyPayload,
    FrameError,
    ImageTooLarge,
    NotAnImage,
)

T = TypeVar("T")

_ERRORS: Dict[str, Type[FrameError]] = {
    error.reason.value: error
    for error in (EmptyPayload, NotAnImage, CorruptImage, ImageTooLarge, DecoderCrashed, DecoderTimeout)
}


class Pixels:
    """A decoded image in a slot of memory, which is the caller's until it is released."""

    def __init__(
        self,
        array: np.ndarray,
        width: int,
        height: int,
        decode_ms: float,
        give_back: Callable[[], None],
        *,
        complete: bool = True,
    ) -> None:
        #: uint8 [H, W, C], as the model's Preprocessing has it. It is a view on the slot: what is needed
        #: after `release` is copied.
        self.array = array
        #: Pixels of the whole image as it was sent, upright.
        self.width = width
        self.height = height
        #: Milliseconds that decoding took in its process.
        self.decode_ms = decode_ms
        #: False where a part of the image was missing.
        self.complete = complete
        self._give_back: Optional[Callable[[], None]] = give_back

    def release(self) -> None:
        """Give the slot back, to be written again. More than once does nothing."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


class DecoderPool(Generic[T]):
    """Decoder processes, with a time and a memory limit each. A context manager."""

    def __init__(
        self,
        preprocessing: Preprocessing,
        *,
        processes: int,
        slots: int,
        on_done: Callable[[T, Union[Pixels, FrameError]], None],
        on_failure: Callable[[BaseException], None],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Take what a pool is made of; `with` starts it.

        Args:
            preprocessing: what the model wants; the slots have its size.
            processes: decoders, each of them a process.
            slots: images that may be decoded and not yet released; decoding waits while there are more.
            on_done: gets each submitted job with its outcome, in one of the pool's threads.
            on_failure: gets what ended one of the pool's threads, if anything but close did, in that thread.
                Frames may then wait for ever, so the worker has to end.
            limits: of each decoder.
        """
        self._shape = preprocessing.shape
        self._pixels = np.empty((0, *self._shape), np.uint8)
        self._slots = slots
        self._on_done = on_done
        self._on_failure = on_failure
        self._decoders = [decoder_for(preprocessing, limits) for _ in range(processes)]
        # None ends a thread.
        self._jobs: queue.SimpleQueue[Optional[Tuple[T, bytes, Region]]] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[Optional[int]] = queue.SimpleQueue()
        self._threads: List[threading.Thread] = []
        self._closing = False

    def __enter__(self) -> DecoderPool[T]:
        """Start the processes, and wait until each is ready.

        Raises:
            NanofleetError: one cannot start; the text says why.
        """
        self._pixels = np.empty((self._slots, *self._shape), np.uint8)
        for slot in range(self._slots):
            self._free.put(slot)
        try:
            for decoder in self._decoders:
                decoder.start()
            for decoder in self._decoders:
                decoder.wait_ready()
        except BaseException:
            self.close()
            raise
        for number, decoder in enumerate(self._decoders):
            thread = threading.Thread(
                target=self._run, args=(decoder,), name=f"decoder-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the pool."""
        self.close()

    def submit(self, job: T, payload: bytes, region: Region = WHOLE) -> None:
        """Have a region of a payload decoded; never waits.

        `on_done` gets the job, unless the pool is closed first.
        """
        self._jobs.put((job, payload, region))

    @property
    def backlog(self) -> int:
        """Payloads that wait for a decoder."""
        return self._jobs.qsize()

    def close(self) -> None:
        """End the processes and threads, within a moment; Pixels that are out stay valid.

        Jobs that have no outcome yet are dropped: their frames are still with the broker.
        """
        self._closing = True
        for decoder in self._decoders:
            decoder.kill()  # wakes the thread that waits for its reply
        for _ in self._threads:
            self._jobs.put(None)
            self._free.put(None)
        for thread in self._threads:
            thread.join(timeout=5)
        for decoder in self._decoders:
            decoder.close()
        self._pixels = self._pixels[:0].copy()  # lets go of the memory, once no Pixels are out

    # --- a thread's life ----------------------------------------------------------------------------

    def _run(self, decoder: Decoder) -> None:
        try:
            self._decode_until_closed(decoder)
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - carried to the main thread
            self._on_failure(error)

    def _decode_until_closed(self, decoder: Decoder) -> None:
        while True:
            job, slot = self._jobs.get(), self._free.get()
            if job is None or slot is None or self._closing:
                return
            outcome = self._decode(decoder, slot, *job[1:])
            if self._closing:
                return
            failed = isinstance(outcome, FrameError)
            self._on_done(job[0], outcome)
            del job, outcome  # with them goes a model that has been changed meanwhile
            if failed:
                decoder.revive()  # at once, so that the next frame need not wait for it

    def _decode(
        self, decoder: Decoder, slot: int, payload: bytes, region: Region
    ) -> Union[Pixels, FrameError]:
        try:
            return self._pixels_of(decoder.decode(payload, region), slot)
        except Undecodable as error:
            self._free.put(slot)
            return _ERRORS[error.reason](error.detail)

    def _pixels_of(self, decoded: Decoded, slot: int) -> Pixels:
        # A copy, so that a decoder that some frame has taken over can change no other frame's pixels.
        pixels = self._pixels[slot]
        pixels[:] = np.frombuffer(decoded.memory, np.uint8).reshape(self._shape)
        give_back = functools.partial(self._free.put, slot)
        return Pixels(
            pixels,
            decoded.width,
            decoded.height,
            decoded.milliseconds,
            give_back,
            complete=decoded.complete,
        )
