"""Why a frame got a Rejection instead of a Result.

    FrameError                      reason (the metric's label, the Rejection's field)
    ├── EmptyPayload                empty
    ├── PayloadTooLarge             payload_too_large
    ├── InvalidEnvelope             invalid_envelope
    ├── Expired                     expired
    ├── NotAnImage                  not_an_image
    ├── CorruptImage                corrupt_image
    ├── ImageTooLarge               image_too_large
    ├── DecoderCrashed              decoder_crashed
    ├── DecoderTimeout              decoder_timeout
    ├── NotANumber                  not_a_number
    └── Poison                      poison

The text of a FrameError becomes the Rejection's detail. Everything else that is raised on a frame's
path is a defect of the worker: it is logged with its traceback and ends the process, because the
frame is still with the broker and will be delivered again.
"""

from __future__ import annotations

from typing import ClassVar

from wire.messages import Reason


class FrameError(Exception):
    """A frame that cannot be answered with a Result; knows its reason."""

    reason: ClassVar[Reason]


class EmptyPayload(FrameError):
    """Zero bytes."""

    reason = Reason.EMPTY


class PayloadTooLarge(FrameError):
    """More bytes than the worker's `max_payload`."""

    reason = Reason.PAYLOAD_TOO_LARGE


class InvalidEnvelope(FrameError):
    """JSON, base64, a data URI or a list of bytes without a picture in it."""

    reason = Reason.INVALID_ENVELOPE


class Expired(FrameError):
    """Older than the worker's `max_age`."""

    reason = Reason.EXPIRED


class NotAnImage(FrameError):
    """The bytes are neither JPEG nor PNG nor WebP."""

    reason = Reason.NOT_AN_IMAGE


class CorruptImage(FrameError):
    """The bytes begin as an image, and cannot be decoded to its end."""

    reason = Reason.CORRUPT_IMAGE


class ImageTooLarge(FrameError):
    """More pixels than the decoder allows."""

    reason = Reason.IMAGE_TOO_LARGE


class DecoderCrashed(FrameError):
    """The decoder process died on this frame, or ran out of the memory it is allowed."""

    reason = Reason.DECODER_CRASHED


class DecoderTimeout(FrameError):
    """The decoder process took longer than it may."""

    reason = Reason.DECODER_TIMEOUT


class NotANumber(FrameError):
    """The model's output for this image is no probability: it divides by zero, or overflows."""

    reason = Reason.NOT_A_NUMBER


class Poison(FrameError):
    """The whole worker died with this frame at work, more than once."""

    reason = Reason.POISON
