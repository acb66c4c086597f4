"""What cameras send, and what comes back: through real brokers, for clients that know nothing of us."""

from __future__ import annotations

import base64
import json
import subprocess
import zlib
from pathlib import Path
from typing import Callable, List

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.fleets import Fleet, on_both_brokers
from tests.harness import MODEL, Listener, Mosquitto, need, wait_for
from tests.tiny import CHELSEA, COFFEE
from wire.messages import Rejection, Result


def results(listener: Listener) -> List[Result]:
    return [Result.decode(m.payload) for m in list(listener.messages) if "/results/" in m.topic]


@on_both_brokers
def test_photos_get_their_labels(
    photos: Path,
    fleet: Fleet,
) -> None:
    worker = fleet.worker("--model", MODEL, "--top-k", "3")
    listener = fleet.listen("#")
    fleet.send("door", (photos / "coffee.png").read_bytes(), "cup-1")
    fleet.send("garden", (photos / "rocket.jpg").read_bytes())
    wait_for(lambda: len(results(listener)) == 2, what="2 results")
    coffee, rocket = sorted(results(listener), key=lambda result: result.camera)
    assert (coffee.frame_id, coffee.camera, coffee.label) == ("cup-1", "door", "espresso")
    assert (rocket.camera, rocket.label) == ("garden", "missile")
    assert coffee.worker == worker.id
    assert coffee.model == MODEL
    assert (coffee.width, coffee.height) == (600, 400)
    assert coffee.top[0].label == "espresso"
    assert len(coffee.top) == 3
    assert coffee.confidence == coffee.top[0].confidence > 0.7
    assert set(coffee.timings_ms) == {"queue", "decode", "inference", "total"}
    assert coffee.received_at <= coffee.answered_at


def test_plain_clients_speak_3_1_1(mosquitto: Callable[..., Mosquitto], photos: Path, fleet: Fleet) -> None:
    """mosquitto_pub and mosquitto_sub know nothing of us, and MQTT 5 only if told to."""
    broker = mosquitto()
    fleet.at(broker.url).worker()
    for version in ("311", "5"):
        address = [*("-p", str(broker.port), "-V", version, "-q", "1")]
        name = f"reader-{version}"
        with subprocess.Popen(
            [
                need("mosquitto_sub"),
                *address,
                "-t",
                f"{fleet.root}/results/door",
                "-C",
                "1",
                "-W",
                "30",
                "-i",
                name,
            ],
            stdout=subprocess.PIPE,
        ) as subscriber:
            wait_for(
                lambda n=name: f"Sending SUBACK to {n}" in broker.log.read_text(), what="its subscription"
            )  # type: ignore[misc]
            image = str(photos / "chelsea.png")
            subprocess.run(
                [need("mosquitto_pub"), *address, "-t", f"{fleet.root}/frames/door", "-f", image], check=True
            )
            output, _ = subscriber.communicate(timeout=60)
        answer = json.loads(output)
        assert answer["label"] == CHELSEA
        assert answer["schema"] == 1
        assert answer["captured_at"] is None


@on_both_brokers
def test_bad_payloads_are_rejected_once_and_good_ones_answered(
    photos: Path,
    fleet: Fleet,
) -> None:
    fleet.worker()
    listener = fleet.listen("results/+", "rejects/+")
    good = (photos / "rocket.jpg").read_bytes()
    header = bytearray((photos / "coffee.png").read_bytes())
    header[16:24] = (30_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    bad = {
        "empty": b"",
        "not_an_image": b"this is a text",
        "corrupt_image": good[: len(good) // 2],
        "image_too_large": bytes(header),
        "payload_too_large": bytes(50_000_000),
        "invalid_envelope": b'{"image": "%%%"}',
    }
    for number, (reason, payload) in enumerate(bad.items(), start=1):
        fleet.send(reason, payload)
        fleet.send("after", good, f"good-{number}")
        wait_for(
            lambda: len(listener.on(f"{fleet.root}/results/")) == number,  # noqa: B023
            what=f"an answer after {reason}",
        )
    # One may come later than the answer to the frame after it.
    wait_for(lambda: len(listener.on(f"{fleet.root}/rejects/")) >= len(bad), what="all rejections")
    rejections = [Rejection.decode(m.payload) for m in listener.on(f"{fleet.root}/rejects/")]
    assert {r.camera: r.reason.value for r in rejections} == {reason: reason for reason in bad}
    assert len(rejections) == len(bad)
    assert all(r.detail for r in rejections)


@pytest.mark.parametrize("envelope", ["raw base64", "data URI"])
def test_json_frames_and_replies(
    photos: Path,
    fleet: Fleet,
    envelope: str,
) -> None:
    fleet.worker()
    listener = fleet.listen("results/+", "replies/#", "elsewhere")
    text = base64.b64encode((photos / "coffee.png").read_bytes()).decode()
    image = text if envelope == "raw base64" else f"data:image/png;base64,{text}"
    frame = {"image": image, "frame_id": "json-1", "captured_at": "2026-01-02T03:04:05Z"}
    for reply_to in ("replies/door/1", "replies/garden/1", "elsewhere"):
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = f"{fleet.root}/{reply_to}"
        properties.CorrelationData = b"42"
        fleet.send("door", json.dumps(frame).encode(), properties=properties)
    wait_for(lambda: len(listener.on(f"{fleet.root}/results/")) == 3, what="3 results")
    (reply,) = listener.on(f"{fleet.root}/replies/")
    assert reply.topic == f"{fleet.root}/replies/door/1"
    assert listener.on(f"{fleet.root}/elsewhere") == []
    assert reply.properties.CorrelationData == b"42"
    answer = Result.decode(reply.payload)
    assert (answer.frame_id, answer.label) == ("json-1", COFFEE)
    assert answer.captured_at is not None
    assert answer.captured_at.isoformat() == "2026-01-02T03:04:05+00:00"
