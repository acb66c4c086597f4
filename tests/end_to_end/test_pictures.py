"""Pictures as cameras and message clients really send them, from the broker to the Result."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Dict

from PIL import Image

from tests.fleets import Fleet
from tests.harness import MODEL, nanofleet, wait_for


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_whole_nearly_whole_and_half(
    photos: Path,
    fleet: Fleet,
) -> None:
    with Image.open(photos / "coffee.png") as opened:
        coffee = opened.convert("RGB")
    whole = encode(coffee, quality=90)
    phone = encode(coffee.resize((12_000, 9_000)), quality=60)
    png = encode(coffee, "PNG")
    pictures = {
        "whole": whole,
        "no-end": whole[:-2],
        "cut": whole[: int(len(whole) * 0.95)],
        "cut-with-an-end": whole[: int(len(whole) * 0.95)] + whole[-2:],
        "half": whole[: len(whole) // 2],
        "half-with-an-end": whole[: len(whole) // 2] + whole[-2:],
        "junk-before": b"\r\n\r\n" + whole,
        "phone": phone,
        "broken-text": png[:33] + b"\0\0\0\1tEXt?\0\0\0\0" + png[33:],
    }
    fleet.worker("--model", MODEL)
    listener = fleet.listen("results/+", "rejects/+")
    for name, payload in pictures.items():
        fleet.send(name, payload)
    wait_for(lambda: len(listener.messages) == len(pictures), 90, "an answer to each")
    answers: Dict[str, Dict[str, Any]] = {
        message.topic.rsplit("/", 1)[1]: json.loads(message.payload) for message in listener.messages
    }
    for half in ("half", "half-with-an-end"):
        rejection = answers.pop(half)
        assert rejection["reason"] == "corrupt_image"
        assert "48% of its rows are missing" in rejection["detail"]
    assert {answer["label"] for answer in answers.values()} == {"espresso"}
    assert {name for name, answer in answers.items() if not answer["complete"]} == {"cut", "cut-with-an-end"}
    assert (answers["phone"]["width"], answers["phone"]["height"]) == (12_000, 9_000)


def test_a_folder_of_photos_shrunk_on_its_way(photos: Path, tmp_path: Path, fleet: Fleet) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(photos / "camera.png") as opened:
        grey = opened.convert("L")
    (folder / "grey16.png").write_bytes(
        encode(grey.point(lambda value: value * 257, "I").convert("I;16"), "PNG")
    )
    (folder / "grey.jfif").write_bytes(encode(grey))
    (folder / "._grey.jfif").write_bytes(b"\x00\x05\x16\x07\0\2\0\0Mac OS X        ")
    fleet.worker("--model", MODEL)
    run = nanofleet(
        *("publish", str(folder), "--max-side", "300", "--wait"),
        "--broker",
        fleet.url,
        "--root",
        fleet.root,
    )
    assert run.returncode == 0, run.stderr
    assert "sent 2, answered 2, rejected 0" in run.stdout
    assert run.stdout.count("tripod") == 2
