"""What stands beside a picture in a message, and topics that name no camera."""

from __future__ import annotations

import itertools
import json
from typing import Callable, Dict, Iterator, Tuple

from tests.faults.hostile.kind import RESULT, Kind, Properties, with_id, without_id
from wire.mqtt.publish_properties import MOST_OF_CORRELATION


def beside(good: bytes, replies: str) -> Iterator[Kind]:
    """A good picture, and beside it what breaks the contract or tries to."""
    dropped: Dict[str, Callable[[str], Properties]] = {
        "an empty frame id": lambda frame_id: [("frame-id", "")],
        "a frame id of 129 letters": lambda frame_id: [("frame-id", "x" * 129)],
        "a frame id of 65,535 letters": lambda frame_id: [("frame-id", "x" * 65_535)],
        "a frame id that is not ASCII": lambda frame_id: [("frame-id", "für-élise-☠")],
        "a frame id with a line break": lambda frame_id: [("frame-id", f"{frame_id}\n")],
        "a frame id with a space": lambda frame_id: [("frame-id", f" {frame_id}")],
    }
    for name, properties in dropped.items():
        yield Kind(
            f"beside: {name}",
            lambda frame_id: good + frame_id.encode(),
            RESULT,
            user_properties=properties,
            hashed=True,
        )
    for name, text in {
        "captured never": "never",
        "captured at nothing": "",
        "captured at a number beyond all": "9" * 400,
        "captured in the year 10000": "10000-01-01T00:00:00Z",
        "captured without a time zone": "2026-01-02T03:04:05",
        "captured at 60,000 letters": "2" * 60_000,
        "captured at infinity": "inf",
        "captured at not a number": "nan",
        "captured before all": "-9" * 100,
        "captured at another script's digits": "\uff12\uff10\uff12\uff16-01-02T03:04:05Z",
    }.items():
        yield Kind(
            f"beside: {name}",
            good,
            RESULT,
            user_properties=lambda frame_id, text=text: [*with_id(frame_id), ("captured-at", text)],  # type: ignore[misc]
        )
    yield Kind(
        "beside: no frame id", lambda frame_id: good + frame_id.encode(), RESULT, without_id, hashed=True
    )
    yield Kind(
        "beside: two frame ids, the second good",
        good,
        RESULT,
        user_properties=lambda frame_id: [("frame-id", "the first"), *with_id(frame_id)],
    )
    yield Kind(
        "beside: 1,000 user properties",
        good,
        RESULT,
        user_properties=lambda frame_id: [*[(f"k{n}", "v" * 20) for n in range(1000)], *with_id(frame_id)],
    )
    yield Kind(
        "beside: captured in the year 9999",
        good,
        RESULT,
        user_properties=lambda frame_id: [*with_id(frame_id), ("captured-at", "9999-12-31T23:59:59Z")],
    )
    yield Kind(
        "beside: 50,000 user properties, and another kind",
        good,
        RESULT,
        user_properties=lambda frame_id: [*[("", "")] * 50_000, *with_id(frame_id)],
        more={"ContentType": "image/jpeg"},
        costly=True,
    )
    yield Kind(
        "beside: a byte order mark",
        good,
        RESULT,
        user_properties=lambda frame_id: [*with_id(frame_id), ("a", "\ufeff")],
    )
    root = replies.rsplit("/", 2)[0]
    for name, topic in {
        "elsewhere": f"{root}/elsewhere",
        "where results are": f"{root}/results/camera",
        "where workers are": f"{root}/workers/w1",
        "where the fleet is commanded": f"{root}/control/model",
        "the replies themselves": replies,
        "where another camera's replies are": f"{root}/replies/garden/1",
        "just outside the replies": f"{replies}-not",
        "where a wildcard stands": f"{replies}/+",
        "wherever anybody listens": "#",
        "250 levels down": f"{replies}{'/' * 250}",
        "60,000 letters long": f"{replies}/{'x' * 60_000}",
        "behind a byte order mark": f"{replies}/\ufeff",
    }.items():
        yield Kind(f"beside: asks for the answer {name}", good, RESULT, more={"ResponseTopic": topic})
    for what, data in (("1 kB", b"\xff" * MOST_OF_CORRELATION), ("64 kB", b"\xff" * 65_535)):
        asks = {"ResponseTopic": f"{replies}/me", "CorrelationData": data}
        yield Kind(f"beside: {what} to be sent back", good, RESULT, more=asks)


#: Levels that are no camera's id; what is sent there gets no answer, because there is no topic for one.
NO_CAMERAS = ["..", "", "x" * 65, "türkamera", "a b", "a\tb", "{camera}", "%00", "\U0001f4a5", "x" * 5000]


def unanswered(root: str, good: bytes) -> Iterator[Tuple[str, bytes]]:
    """Messages on topics that a worker reads, and which it ignores: topic and payload."""
    for camera in NO_CAMERAS:
        yield f"{root}/frames/{camera}", good
    junk = [
        b"{",
        b"\xff\xd8\xff",
        b'{"schema": 2}',
        b"[" * 100_000,
        b"NaN",
        json.dumps("x" * 10_000).encode(),
    ]
    for number, (payload, worker) in enumerate(itertools.product(junk, ("evil", "w1"))):
        yield f"{root}/workers/{worker}-{number}", payload
