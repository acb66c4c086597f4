"""Hostile messages among good frames: each is answered once, and nothing of them stays.

rounds, each of:  every kind of the corpus ┐
                  mutated pictures         ├─ shuffled ─> worker ─> one right answer to each
                  good frames              ┘
"""

from __future__ import annotations

import io
import itertools
import statistics
import sys
from collections import Counter, deque
from pathlib import Path
from typing import Any, Callable, Deque, List, Sequence, Tuple

import pytest
from PIL import Image

from tests.faults import memory
from tests.faults.attack import Attack, Message, Round, has_control_characters, passes_mosquitto
from tests.faults.case import Case
from tests.faults.corpus import corpus
from tests.faults.hostile.kind import MAX_PAYLOAD, MAX_PIXELS, RESULT
from tests.faults.hostile.messages import unanswered
from tests.faults.observer import Heard
from tests.harness import MODEL, WorkerProcess, wait_for
from tests.metrics import metric
from wire.mqtt.publish_properties import MOST_OF_CORRELATION

ROUNDS = 5
#: Bytes that a message may leave behind: more is a leak, less is the allocator.
LEFT_BEHIND = 1000
#: Messages since the oldest without an answer, at most: a broker's queue is finite.
AHEAD = 400
LIMITS = ("--max-pixels", str(MAX_PIXELS), "--max-payload", str(MAX_PAYLOAD), "--decoder-timeout", "2")
#: What surely comes, or the attack has not reached what it is for.
REACHED = {
    *(RESULT, "empty", "payload_too_large", "invalid_envelope", "not_an_image", "corrupt_image"),
    *("image_too_large", "decoder_timeout"),
}
#: Where no answer may ever appear, and where replies may.
ESCAPES = ("elsewhere", "control/#", "workers/w1", "replies-not", "replies/#")


@pytest.fixture(scope="session")
def pictures(photos: Path) -> List[bytes]:
    """Real photos, small, in every variety of the three formats. JPEG, PNG and WebP come first."""
    with Image.open(photos / "coffee.png") as opened:
        photo = opened.convert("RGB").resize((96, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    moving = {"save_all": True, "append_images": [photo.rotate(90)]}

    def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return [
        saved(photo, "JPEG"),
        saved(photo, "PNG"),
        saved(photo, "WEBP"),
        saved(photo, "JPEG", progressive=True),
        saved(photo.convert("L"), "JPEG", exif=exif),
        saved(photo.convert("CMYK"), "JPEG"),
        saved(photo.quantize(32), "PNG"),
        saved(photo.convert("1"), "PNG"),
        saved(photo.convert("RGBA"), "PNG", exif=exif),
        saved(photo, "PNG", **moving),
        saved(photo, "WEBP", lossless=True),
        saved(photo.convert("RGBA"), "WEBP", exif=exif),
        saved(photo, "WEBP", **moving),
    ]


def run(fleet: Case, worker: WorkerProcess, rounds: Sequence[Round]) -> None:
    """Send the messages as fast as they are answered."""
    fleet.strike()
    waiting: Deque[str] = deque()
    for each in rounds:
        for number, message in enumerate(each.messages):
            wait_for(lambda: has_room(fleet, waiting), 60, "answers")
            waiting.append(message.frame_id)
            fleet.sent.add(message.frame_id)
            fleet.publish(f"{fleet.root}/frames/camera", message.payload, **message.properties)
            if number % 20 == 0:
                each.worker.append(memory.resident_bytes(worker.process.pid))
                each.decoders.extend(map(memory.resident_bytes, memory.decoders(worker.process.pid)))
    fleet.wait_all()


def has_room(fleet: Case, waiting: Deque[str]) -> bool:
    """Whether the oldest message without an answer is not too long ago; drops those before it."""
    while waiting and waiting[0] in fleet.heard:
        waiting.popleft()
    return len(waiting) < AHEAD


def check_answers(fleet: Case, messages: Sequence[Message]) -> None:
    """Each was answered once, under its id, and rightly; what was not is kept in a file."""
    assert {frame_id: n for frame_id, n in fleet.counts.items() if n > 1} == {}
    heard = {each.answer.frame_id: each for each in fleet.answers}
    assert set(heard) == fleet.sent == {message.frame_id for message in messages}
    wrong = []
    for message in messages:
        if not right(message, heard[message.frame_id]):
            file = fleet.folder / f"{message.frame_id}.payload"
            file.write_bytes(message.payload)
            wrong.append(f"{message.kind}: {heard[message.frame_id].answer!r}, sent {file}")
    assert not wrong, "\n".join(wrong)


def right(message: Message, heard: Heard) -> bool:
    """Whether an answer is one that the message may get, in words fit for a log."""
    if heard.outcome not in message.outcomes.split():
        return False
    if heard.outcome == RESULT:
        return message.label in ("", heard.answer.label)  # type: ignore[union-attr]
    detail = heard.answer.detail  # type: ignore[union-attr]
    return 0 < len(detail) < 300 and detail.isprintable()


def check_memory(rounds: Sequence[Round]) -> None:
    """After the first round, which warms up, memory goes up and down, but does not grow with each."""
    enough = LEFT_BEHIND * len(rounds[-1].messages)
    for part in ("worker", "decoders"):
        medians = [statistics.median(getattr(each, part)) for each in rounds]
        print(f"{part}: {[f'{median / 1e6:.1f} MB' for median in medians]}")
        # Theil and Sen's trend, the median of all slopes between two rounds: one high round does not move it.
        after = list(enumerate(medians))[1:]
        growth = statistics.median(
            (later - earlier) / (last - first)
            for (first, earlier), (last, later) in itertools.combinations(after, 2)
        )
        assert growth < enough


def check_unanswered(fleet: Case, worker: WorkerProcess, messages: Sequence[Tuple[str, bytes]]) -> None:
    """Messages without an address are ignored, and those to no camera counted; nothing else comes of them."""
    before = len(fleet.answers)
    for topic, payload in messages:
        fleet.publish(topic, payload).wait_for_publish(30)
    cameras = sum(topic.startswith(f"{fleet.root}/frames/") for topic, _ in messages)
    name = "nanofleet_ignored_messages_total"
    wait_for(lambda: metric(worker, name, reason="no_camera") == cameras, 30, "all ignored")
    assert len(fleet.answers) == before


def attack(
    fleet: Case,
    rounds: Sequence[Round],
    without_address: Sequence[Tuple[str, bytes]],
) -> None:
    """Run it, and look at everything that could have gone wrong."""
    listener = fleet.listen(*ESCAPES)
    (worker,) = fleet.start(1, "--model", MODEL, *LIMITS)
    process = worker.process
    run(fleet, worker, rounds)
    messages = [message for each in rounds for message in each.messages]
    check_answers(fleet, messages)
    outcomes = Counter(heard.outcome for heard in fleet.answers)
    print(dict(outcomes))
    assert set(outcomes) >= REACHED
    check_unanswered(fleet, worker, without_address)
    replies = f"{fleet.root}/replies/camera/me"
    asked = sum(
        message.properties.get("ResponseTopic") == replies
        and len(message.properties["CorrelationData"]) <= MOST_OF_CORRELATION
        for message in messages
    )
    assert [heard.topic for heard in listener.messages] == [replies] * asked
    assert worker.process is process
    assert process.poll() is None
    log = worker.log.read_text()
    assert "Traceback" not in log
    assert len(log) < 100_000, "what strangers send fills the disk"


def test_ten_thousand_hostile_messages(
    case: Callable[..., Case],
    mosquitto_url: str,
    root: str,
    pictures: List[bytes],
    images: List[bytes],
    times: int,
) -> None:
    fleet = case("10,000 hostile messages among 1,000 good frames", mosquitto_url)
    kinds = [kind for kind in corpus(*pictures[:3], f"{root}/replies/camera") if passes_mosquitto(kind)]
    assert len({kind.name for kind in kinds}) == len(kinds) >= 60
    attacker = Attack(root, kinds, pictures, images)
    rounds = [attacker.round(2000, 200, copies=2) for _ in range(ROUNDS * times)]
    without_address = [each for each in unanswered(root, images[0]) if not has_control_characters(each[0])]
    attack(fleet, rounds, without_address)
    check_memory(rounds)


@pytest.mark.skipif(sys.version_info < (3, 9), reason="iotcore has no wheel for Python 3.8")
def test_a_thousand_hostile_messages_on_the_embedded_broker(
    case: Callable[..., Case],
    embedded_url: str,
    root: str,
    pictures: List[bytes],
    images: List[bytes],
) -> None:
    fleet = case("embedded broker: 1,000 hostile messages among 100 good frames", embedded_url)
    attacker = Attack(root, corpus(*pictures[:3], f"{root}/replies/camera"), pictures, images)
    rounds = [attacker.round(1000, 100, copies=1)]
    without_address = list(unanswered(root, images[0]))
    attack(fleet, rounds, without_address)
