"""`nanofleet results`: answers as they come, for people or as JSON.

network thread: message ──> queue ──> main thread: filter, print ──> ack

The ack comes last, so that a slow reader of our output leaves the messages with the broker, not in memory.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import re
import time
import uuid
from typing import Callable, List, NamedTuple, Optional, Tuple, Union

from fleet.console import has_reader
from fleet.output import leave_reader
from fleet.results.settings import ResultsSettings
from wire.errors import DecodeError
from wire.lengths import MAX_ANSWER_PACKET
from wire.messages import Rejection, Result
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery
from wire.mqtt.reach import connect_within
from wire.printable import printable, show

log = logging.getLogger(__name__)

#: Seconds to wait for a broker without a --timeout.
_CONNECT_SECONDS = 30.0
#: Seconds between two looks at whether our output is still read.
_LOOK_SECONDS = 0.5
#: Messages that the broker sends ahead of their acks.
_AHEAD = 100


class Answer(NamedTuple):
    """A message, as it came and as it was read."""

    delivery: Delivery
    message: Union[Result, Rejection]


def results(settings: ResultsSettings) -> int:
    """Print answers.

    Returns:
        0 if as many came as were asked for, or nothing but Ctrl-C ended it; else 1.

    Raises:
        NanofleetError: the broker refused, or was not there in time.
    """
    deadline = time.monotonic() + (settings.timeout or float("inf"))
    came: queue.Queue[Delivery] = queue.Queue()
    topics, cameras = settings.topics, settings.camera or ["+"]
    kinds = [topics.results, *([topics.rejects] if settings.shows_rejections else [])]
    connection = Connection(
        settings.open_broker(),
        f"nanofleet-results-{uuid.uuid4().hex[:12]}",
        on_delivery=came.put,
        subscriptions={kind(camera): 1 for kind in kinds for camera in cameras},
        receive_maximum=_AHEAD,
        largest_packet=MAX_ANSWER_PACKET,
    )
    shown = 0
    try:
        connect_within(connection, settings.timeout or _CONNECT_SECONDS)
        with contextlib.closing(connection):
            while shown != settings.count and time.monotonic() < deadline and has_reader():
                shown += _show_next(connection, came, settings, deadline)
    except KeyboardInterrupt:
        return 0 if settings.count is None else 130
    except BrokenPipeError:
        leave_reader()
        return 0
    return 0 if shown >= (settings.count or 1) or time.monotonic() < deadline else 1


def _show_next(
    connection: Connection, came: queue.Queue[Delivery], settings: ResultsSettings, deadline: float
) -> int:
    """Print the next message, if one comes soon; returns how many were printed."""
    connection.check()
    try:
        delivery = came.get(timeout=max(0.0, min(_LOOK_SECONDS, deadline - time.monotonic())))
    except queue.Empty:
        return 0
    answer = _read(delivery, settings)
    line = answer and (_as_json(answer) if settings.json_ else _as_text(answer))
    if line:
        show(line)
    connection.call(_ack(connection, delivery))
    return 1 if line else 0


def _ack(connection: Connection, delivery: Delivery) -> Callable[[], None]:
    def ack() -> None:
        connection.ack(delivery)

    return ack


def _read(delivery: Delivery, settings: ResultsSettings) -> Optional[Answer]:
    """A message that the filters let through; None for others."""
    kind = Result if delivery.topic.startswith(settings.topics.results("")) else Rejection
    try:
        answer = Answer(delivery, kind.decode(delivery.payload))
    except DecodeError as error:  # anybody may publish anything
        log.warning("%s: %s", delivery.topic, error)
        return None
    message = answer.message
    wanted = isinstance(message, Rejection) or matches(message, settings.label, settings.min_confidence)
    return answer if wanted else None


def matches(result: Result, labels: List[str], min_confidence: float) -> bool:
    """Whether a result has one of these labels, or any, and is as sure of it.

    Args:
        result: of a model with one answer, or with several that do not exclude each other.
        labels: as people write them; none for all.
        min_confidence: from 0 to 1.
    """
    if not (labels or min_confidence):
        return True
    patterns = [re.compile(rf"(?<!\w){re.escape(label)}(?!\w)", re.IGNORECASE) for label in labels]
    return any(
        confidence >= min_confidence and (not labels or any(p.search(label) for p in patterns))
        for label, confidence in seen(result)
    )


def seen(result: Result) -> List[Tuple[str, float]]:
    """The labels that a result reports as seen, with their confidence.

    The confidence of a label below the top k is not in the result: 0 stands for it, and is less than it is.
    """
    if result.labels is None:
        return [(result.label, result.confidence)]
    known = {candidate.label: candidate.confidence for candidate in result.top}
    return [(label, known.get(label, 0.0)) for label in result.labels]


def _as_json(answer: Answer) -> str:
    message = json.loads(answer.delivery.payload)
    message.pop("topic", None)
    return json.dumps({"topic": answer.delivery.topic, **message})


def _as_text(answer: Answer) -> str:
    message = answer.message
    if isinstance(message, Rejection):
        text = f"REJECTED {message.reason.value}: {message.detail}"
        cells = [f"{message.received_at:%Y-%m-%dT%H:%M:%SZ}", message.camera, text, message.worker]
    else:
        cells = [
            f"{message.answered_at:%Y-%m-%dT%H:%M:%SZ}",
            message.camera,
            _labels(message),
            f"{message.timings_ms['total']:.0f} ms" if "total" in message.timings_ms else "-",
            message.worker,
            *([] if message.complete else ["a part of the image was missing"]),
            *([f"still as {message.repeats}"] if message.repeats else []),
            *message.notes,
        ]
    return printable("  ".join(cells))


def _labels(result: Result) -> str:
    if result.labels == ():
        return f"nothing (most likely {result.label} {result.confidence:.2f})"
    return ", ".join(
        f"{label} {confidence:.2f}" if confidence else label for label, confidence in seen(result)
    )
