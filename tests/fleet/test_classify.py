from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any, Dict, List

import pytest

from fleet.classify import classify
from wire.errors import SettingsError
from worker.settings import ClassifySettings


def run(images: List[Path], **given: Any) -> int:
    """Classify with these settings; exports go to the user's own folder, as they do without any."""
    return classify(
        ClassifySettings(images=images, **{"model": "efficientnet_lite0", "device": "cpu", **given})
    )


@pytest.fixture(scope="module")
def photos() -> Path:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


def bad_files(folder: Path, photos: Path) -> List[Path]:
    """An absent file, a folder, no bytes, text, a photo cut short."""
    empty, text, cut = folder / "empty.jpg", folder / "text.jpg", folder / "cut.jpg"
    empty.touch()
    text.write_text("not a photo", encoding="utf-8")
    cut.write_bytes((photos / "rocket.jpg").read_bytes()[:20_000])
    return [folder / "absent.jpg", folder, empty, text, cut]


def test_it_prints_the_settings_and_the_top_k_of_each_image(
    photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([photos / "coffee.png", photos / "rocket.jpg"], top_k=2, engine="onnxruntime") == 0
    out, err = capfd.readouterr()
    head, coffee, rocket = out.split("\n\n")
    assert err == ""
    assert head.splitlines() == [
        "model          efficientnet_lite0, weights IMAGENET1K_V1",
        "engine         onnxruntime on cpu (asked for; cpu: asked for)",
        "preprocessing  resize 256 (bilinear), crop 224, rgb,",
        "               mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
        "classes        1000, activation softmax",
    ]
    assert coffee.splitlines()[0].startswith(f"{photos / 'coffee.png'}  600x400")
    assert coffee.splitlines()[1].endswith("%  espresso")
    assert rocket.splitlines()[1].endswith("%  missile")
    assert len(coffee.splitlines()) == 3


def test_json_lines_and_nothing_else(photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = ["coffee.png", "rocket.jpg", "chelsea.png", "motorcycle_left.png"]
    assert run([photos / name for name in names], json_=True) == 0
    answers = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [answer["label"] for answer in answers] == ["espresso", "missile", "Egyptian cat", "moped"]
    coffee = answers[0]
    assert set(coffee) == {
        *("image", "model", "weights", "label", "index", "confidence", "top", "width", "height", "complete"),
        *("timings_ms", "labels"),
    }
    assert coffee["labels"] is None
    assert all(answer["complete"] for answer in answers)
    assert coffee["image"] == str(photos / "coffee.png")
    assert coffee["confidence"] == pytest.approx(0.84, abs=0.03)
    assert (coffee["width"], coffee["height"]) == (600, 400)
    assert len(coffee["top"]) == 5
    assert coffee["top"][0] == {key: coffee[key] for key in ("label", "index", "confidence")}
    assert set(coffee["timings_ms"]) == {"decode", "inference"}
    assert min(coffee["timings_ms"].values()) > 0


def test_a_photo_of_which_a_little_is_missing(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((photos / "rocket.jpg").read_bytes()[:-4000])
    assert run([cut], json_=True) == 0
    answer = json.loads(capfd.readouterr().out)
    assert (answer["label"], answer["complete"]) == ("missile", False)
    assert run([cut]) == 0
    assert "640x427, a part of it missing" in capfd.readouterr().out


def test_a_bad_file_is_told_and_the_others_go_on(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = bad_files(tmp_path, photos)
    assert run([*bad, photos / "coffee.png"]) == 1
    out, err = capfd.readouterr()
    assert "espresso" in out
    reasons = ["unreadable", "unreadable", "empty", "not_an_image", "corrupt_image"]
    assert len(err.splitlines()) == len(bad)
    for line, path, reason in zip(err.splitlines(), bad, reasons):
        assert line.startswith(f"{path}: {reason}: ")


def test_a_bad_file_has_its_json_line_too(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = bad_files(tmp_path, photos)
    assert run([*bad, photos / "coffee.png"], json_=True) == 1
    *failures, coffee = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [failure["image"] for failure in failures] == [str(path) for path in bad]
    assert [failure["error"] for failure in failures] == [
        *("unreadable", "unreadable", "empty", "not_an_image", "corrupt_image")
    ]
    assert all(set(failure) == {"image", "error", "detail"} and failure["detail"] for failure in failures)
    assert coffee["label"] == "espresso"


def test_labels_of_ones_own(photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"número {index}\n" for index in range(1000)), encoding="utf-8")
    assert run([photos / "coffee.png"], labels=path, json_=True) == 0
    assert json.loads(capfd.readouterr().out)["label"] == "número 967"


def test_file_names_need_not_be_plain(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copy(photos / "coffee.png", tmp_path / "un café.png"))
    assert run([path], json_=True) == 0
    assert json.loads(capfd.readouterr().out)["image"] == str(path)


@pytest.mark.parametrize(
    ("setting", "says"),
    [({"model": "resnet81"}, "did you mean resnet18"), ({"device": "tpu"}, "unknown device")],
)
def test_a_wrong_setting_ends_it_before_any_image(
    photos: Path, setting: Dict[str, str], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsError, match=says):
        run([photos / "coffee.png"], **setting)
    assert capfd.readouterr().out == ""
