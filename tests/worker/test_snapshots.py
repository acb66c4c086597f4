"""Which frames become snapshots, and what becomes of their pictures."""

from __future__ import annotations

import base64
import gc
import io
import json
import logging
import os
import weakref
from pathlib import Path
from typing import Any, List

import pytest
from PIL import Image

from tests.harness import wait_for
from tests.worker.path import FramesPath
from tests.worker.serving.small import CLASSES, model
from wire.cameras import CameraSettings, SnapshotNotice
from wire.mqtt.packets import Delivery, Publication
from wire.mqtt.pubacks import NOT_AUTHORIZED
from worker.delivery.frame import Frame
from worker.errors import CorruptImage
from worker.serving.job import Classified, Outcome
from worker.snapshots import MOST_BYTES, MOST_PIXELS, Snapshots

TOPIC, NOTICE = "nanofleet/snapshots/door", "nanofleet/snapshots/door/notice"
#: Less than passes between two frames.
NO_TIME = 1e-9


def classified(label: str, *, complete: bool = True) -> Classified:
    best = [(CLASSES.index(label), 0.75), (0, 0.1)]
    return Classified(model(), best, None, None, 640, 480, complete, 0.0, 0.002, 0.003, 1)


def small(kind: str) -> bytes:
    """A small red picture."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(file, kind)
    return file.getvalue()


RED = small("JPEG")


def large_jpeg(width: int = 1600, height: int = 1200) -> bytes:
    """A picture that cannot be said in few bytes."""
    file = io.BytesIO()
    Image.frombytes("RGB", (width, height), os.urandom(3 * width * height)).save(file, "JPEG")
    return file.getvalue()


class Seen(FramesPath):
    """A path whose snapshots are looked at."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **{"snapshot_every": NO_TIME, **settings})
        self.worker.life.online = True
        self.frames = 0

    def answer(self, outcome: Outcome, payload: bytes = RED, **properties: str) -> None:
        """Have a frame come and be answered."""
        self.frames += 1
        self.receive(self.frames, payload, frame_id=f"frame-{self.frames}", **properties)
        self.models.jobs[-1].done(outcome)
        self.models.jobs[-1].flush()
        self.broker.run()

    def snapshots(self) -> List[Publication]:
        """The snapshots so far."""
        self.broker.run()
        return [each for each in self.broker.published if each.topic == TOPIC]

    def labels(self) -> List[str]:
        """The snapshots' labels so far."""
        return [dict(each.user_properties)["label"] for each in self.snapshots()]


def test_a_frame_is_one_when_its_label_is_another(tmp_path: Path) -> None:
    path = Seen(tmp_path)
    with path.pipeline:
        for label in ("red", "red", "green", "green", "red"):
            path.answer(classified(label))
        path.answer(CorruptImage("broken"))
        path.answer(classified("blue", complete=False))
        path.answer(classified("red"))
    assert path.labels() == ["red", "green", "red"]
    assert [dict(each.user_properties)["frame-id"] for each in path.snapshots()] == [
        *("frame-1", "frame-3", "frame-5")
    ]


@pytest.mark.parametrize(("every", "labels"), [(3600, ["red"]), (0, [])])
def test_there_are_no_more_than_are_wanted(tmp_path: Path, every: float, labels: List[str]) -> None:
    path = Seen(tmp_path, snapshot_every=every)
    with path.pipeline:
        for label in ("red", "green", "blue"):
            path.answer(classified(label))
    assert path.labels() == labels


def test_a_small_picture_is_published_as_it_came_and_for_a_day(tmp_path: Path) -> None:
    path = Seen(tmp_path)
    with path.pipeline:
        path.answer(classified("green"), captured_at="2026-05-01T12:00:00+02:00")
    (published,) = path.snapshots()
    assert published.payload is RED
    assert (published.retain, published.expiry) == (True, 86_400)
    assert dict(published.user_properties) == {
        **{"label": "green", "confidence": "0.7500", "frame-id": "frame-1"},
        "captured-at": "2026-05-01T10:00:00+00:00",
    }


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_each_is_a_jpeg(tmp_path: Path, kind: str) -> None:
    """As Home Assistant is told for all pictures of a camera."""
    path = Seen(tmp_path)
    with path.pipeline:
        path.answer(classified("red"), small(kind))
        (published,) = wait_for(path.snapshots, what="a snapshot")
    with Image.open(io.BytesIO(published.payload)) as image:
        assert (image.format, image.size) == ("JPEG", (8, 8))


@pytest.mark.parametrize("wrap", ["envelope", "headers"])
def test_a_picture_is_taken_out_of_what_it_came_in(tmp_path: Path, wrap: str) -> None:
    path = Seen(tmp_path)
    payload = json.dumps({"image": base64.b64encode(RED).decode(), "frame_id": "its own"}).encode()
    with path.pipeline:
        path.answer(classified("red"), payload if wrap == "envelope" else b"a header\r\n\r\n" + RED)
    assert [each.payload for each in path.snapshots()] == [RED]


@pytest.mark.parametrize("size", [(1600, 1200), (400, 400)])
def test_a_large_picture_is_shrunk(tmp_path: Path, size: Any) -> None:
    path = Seen(tmp_path)
    large = large_jpeg(*size)
    assert len(large) > MOST_BYTES
    with path.pipeline:
        path.answer(classified("red"), large)
        (published,) = wait_for(path.snapshots, what="a snapshot")
    assert len(published.payload) <= MOST_BYTES
    with Image.open(io.BytesIO(published.payload)) as image:
        image.load()
        assert image.format == "JPEG"
        assert max(image.size) <= MOST_PIXELS
        assert image.width * size[1] == pytest.approx(image.height * size[0], rel=0.02)


@pytest.mark.parametrize(
    ("size", "cut"), [((1600, 1200), (640, 480)), ((64, 64), (32, 32)), ((3, 1), (1, 1))]
)
def test_what_a_region_leaves_out_is_not_published(tmp_path: Path, size: Any, cut: Any) -> None:
    """Not a pixel of it, also of a picture that is small enough as it came."""
    picture = Image.new("RGB", size, (255, 255, 255))
    picture.paste((0, 0, 0), (size[0] // 2, size[1] // 2, *size))
    file = io.BytesIO()
    picture.save(file, "PNG")
    path = Seen(tmp_path)
    path.cameras.receive("door", CameraSettings(region=(0.5, 0.5, 1.0, 1.0)).encode())
    with path.pipeline:
        path.answer(classified("red"), file.getvalue())
        (published,) = wait_for(path.snapshots, what="a snapshot")
    with Image.open(io.BytesIO(published.payload)) as image:
        assert image.size == cut
        assert max(high for _, high in image.convert("RGB").getextrema()) < 8


def test_where_and_when_a_picture_was_taken_is_not_published(tmp_path: Path) -> None:
    """A phone writes that into its pictures, also into those that are small; it is shown the right way up."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "52.5163 N 13.3777 E"
    file = io.BytesIO()
    Image.new("RGB", (40, 20), (255, 0, 0)).save(file, "JPEG", exif=exif)
    path = Seen(tmp_path)
    with path.pipeline:
        path.answer(classified("red"), file.getvalue())
        (published,) = wait_for(path.snapshots, what="a snapshot")
    with Image.open(io.BytesIO(published.payload)) as image:
        assert image.size == (20, 40)
        assert not image.getexif()
    assert b"52.5163" in file.getvalue()
    assert b"52.5163" not in published.payload


def test_one_that_cannot_be_shrunk_harms_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    large = large_jpeg()
    path = Seen(tmp_path)
    with path.pipeline, caplog.at_level(logging.INFO):
        path.answer(classified("red"), large[: len(large) // 2])
        wait_for(lambda: "door: no snapshot: " in caplog.text, what="it was given up")
        path.answer(classified("green"))
    assert path.labels() == ["green"]
    assert len([each for each in path.broker.published if "/results/" in each.topic]) == 2


def test_no_process_that_shrinks_is_started_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where none can start, small pictures are snapshots all the same."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    large = large_jpeg()
    path = Seen(tmp_path)
    with path.pipeline:
        for label, payload in (("red", large), ("green", large), ("blue", RED)):
            path.answer(classified(label), payload)
        wait_for(path.snapshots, what="the small one")
    assert [each.payload for each in path.snapshots()] == [RED]
    assert caplog.text.count("make no snapshots: a decoder process cannot start") == 1


def test_what_another_worker_has_published_counts_as_ones_own(tmp_path: Path) -> None:
    path = Seen(tmp_path)
    notice = SnapshotNotice(worker="w2", camera="door", label="green", frame_id="its-frame")
    with path.pipeline:
        path.pipeline.snapshots.heard(notice.encode())
        path.pipeline.snapshots.heard(b"no notice")
        path.answer(classified("green"))
        path.answer(classified("red"))
    assert path.labels() == ["red"]
    late = Seen(tmp_path, snapshot_every=3600)
    with late.pipeline:
        late.pipeline.snapshots.heard(notice.encode())
        late.answer(classified("red"))
    assert late.snapshots() == []


def test_the_others_are_told_once_the_broker_has_one(tmp_path: Path) -> None:
    path = Seen(tmp_path)
    with path.pipeline:
        path.answer(classified("green"))
    (published,) = path.snapshots()
    assert NOTICE not in [each.topic for each in path.broker.published]
    assert published.on_puback is not None
    published.on_puback(0)
    (notice,) = [each for each in path.broker.published if each.topic == NOTICE]
    said = SnapshotNotice.decode(notice.payload)
    assert (said.worker, said.camera, said.label, said.frame_id) == ("w1", "door", "green", "frame-1")
    assert not notice.retain


def test_one_that_the_broker_has_not_taken_yet_keeps_no_frame_in_memory(tmp_path: Path) -> None:
    """Its payload may be many times as large as the snapshot, and a broker may be slow."""
    path = Seen(tmp_path)
    with path.pipeline:
        path.answer(classified("red"), large_jpeg())
        wait_for(path.snapshots, what="a snapshot")
        frame = weakref.ref(path.unacked._order[0])
        path.puback(0)  # the answer's
        assert path.acked == [1]
        del path.broker.published[0], path.models.jobs[:]
        wait_for(lambda: gc.collect() >= 0 and frame() is None, what="the frame is gone")


def test_a_broker_that_refuses_them_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = Seen(tmp_path)
    with path.pipeline:
        for label in ("red", "green"):
            path.answer(classified(label))
    for published in path.snapshots():
        assert published.on_puback is not None
        published.on_puback(NOT_AUTHORIZED)
    assert path.labels() == ["red", "green"]
    assert caplog.text.count(f"refuses {TOPIC} (0x87)") == 1
    assert NOTICE not in [each.topic for each in path.broker.published]


def test_while_the_connection_is_lost_there_is_none_but_then_the_next(tmp_path: Path) -> None:
    path = Seen(tmp_path)
    with path.pipeline:
        path.worker.life.online = False
        path.answer(classified("red"))
        wait_for(lambda: path.broker.calls, what="a snapshot that is not published")
        assert path.snapshots() == []
        path.worker.life.online = True
        path.answer(classified("red"))
    assert path.labels() == ["red"]


def test_a_label_from_a_strangers_file_is_fit_for_a_property(tmp_path: Path) -> None:
    """Mosquitto drops the connection over a control character, and it would come again with each."""
    path = Seen(tmp_path)
    foreign = model().model_copy(update={"classes": ("a\x01\nb", "green", "blue")})
    with path.pipeline:
        path.answer(classified("red")._replace(model=foreign))
    (published,) = path.snapshots()
    assert dict(published.user_properties)["label"] == r"a\x01\nb"


def test_what_waits_is_no_larger_than_one_frame_may_be(tmp_path: Path) -> None:
    path = Seen(tmp_path, max_payload=100_000)
    broker: Any = path.broker
    snapshots = Snapshots(path.worker, broker)
    picture = large_jpeg(300, 300)
    assert 50_000 < len(picture) <= MOST_BYTES

    def offer(camera: str) -> None:
        frame = Frame.receive(Delivery("t", picture, 1, False, 1, 1), camera)
        snapshots.offer(frame, classified("red"))

    for camera in ("door", "garden", "hall"):
        offer(camera)
    with snapshots:
        wait_for(path.snapshots, what="the first")
        offer("garden")
    path.broker.run()
    topics = [each.topic for each in path.broker.published]
    assert topics == ["nanofleet/snapshots/door", "nanofleet/snapshots/garden"]
