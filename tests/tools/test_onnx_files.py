"""ONNX files that the tools themselves have written (see make_onnx.py), classified as those tools do."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Dict, List

import onnx
import onnxruntime
import pytest

from fleet.classify import classify
from tests.tools.pictures import picture
from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.engines.select import open_model
from worker.settings import ClassifySettings

FILES = Path(__file__).with_name("files")
EXPECTED: Dict[str, Any] = json.loads((FILES / "expected.json").read_text(encoding="utf-8"))


def opened_here(name: str) -> bool:
    """Whether the onnxruntime that is installed is new enough for the file."""
    model = onnx.load(str(FILES / name), load_external_data=False)
    opset = max(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    release = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    return release >= (1, 20) or (opset <= 21 and model.ir_version <= 10)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_tools_file_is_answered_as_by_the_tool(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    if not opened_here(name):
        pytest.skip(f"onnxruntime {onnxruntime.__version__} is older than this file's opset")
    expected = EXPECTED[name]
    images: List[Path] = []
    for each in expected["pictures"]:
        images.append(tmp_path / f"{each['seed']}.png")
        picture(each["seed"], expected["size"]).save(images[-1])
    fields: Dict[str, Any] = flags(expected["args"])
    if expected["labels"]:
        fields["labels"] = tmp_path / "labels.txt"
        fields["labels"].write_text("\n".join(expected["labels"]), encoding="utf-8")
    settings = ClassifySettings(
        model=str(FILES / name), images=images, json_=True, top_k=10, weights_dir=tmp_path, **fields
    )
    with caplog.at_level(logging.WARNING):
        assert classify(settings) == 0
    answers = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(answers) == len(images)
    for answer, each in zip(answers, expected["pictures"]):
        found = {candidate["index"]: candidate["confidence"] for candidate in answer["top"]}
        right = dict(enumerate(each["probabilities"]))
        assert found == pytest.approx(right, abs=expected["tolerance"]), name
        assert answer["index"] == max(right, key=lambda index: right[index])
        if expected["multi_label"]:
            assert set(answer["labels"]) == {
                answer_.get("label") for answer_ in answer["top"] if answer_["confidence"] >= 0.5
            }
        else:
            assert answer["labels"] is None
    for sentence in expected["assumes"]:
        assert sentence in caplog.text
    if not expected["assumes"]:
        assert "what its pixels are" not in caplog.text


def test_inputs_whose_values_a_tool_has_lost_are_named(tmp_path: Path) -> None:
    choice = ModelChoice(model=str(FILES / "keras_normalization.onnx"))
    with pytest.raises(SettingsError, match=r"normalization.*and not one batch of images.*as constants"):
        open_model(choice, engine="auto", device="cpu", max_batch=1, weights_dir=tmp_path)


def flags(args: List[str]) -> Dict[str, Any]:
    """`--crop 32` as a setting."""
    return {name[2:]: value for name, value in zip(args[::2], args[1::2])}


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("ultralytics.onnx", ("red", "green", "blue")),
        ("sklearn.onnx", ("blue", "green", "red")),
    ],
)
def test_names_in_a_file_are_its_classes(name: str, names: object, tmp_path: Path) -> None:
    choice = ModelChoice(model=str(FILES / name))
    model, _ = open_model(choice, engine="auto", device="cpu", max_batch=2, weights_dir=tmp_path)
    assert model.classes == model.own_names == names


def test_the_external_data_of_todays_exporter_is_pinned_too(tmp_path: Path) -> None:
    for part in ("torch_dynamo.onnx", "torch_dynamo.onnx.data"):
        (tmp_path / part).write_bytes((FILES / part).read_bytes())
    (tmp_path / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    choice = ModelChoice(model=str(tmp_path / "torch_dynamo.onnx"), labels=tmp_path / "labels.txt")
    if not opened_here("torch_dynamo.onnx"):
        pytest.skip(f"onnxruntime {onnxruntime.__version__} is older than this file's opset")
    model, _ = open_model(choice, engine="auto", device="cpu", max_batch=1, weights_dir=tmp_path)
    pinned = choice.model_copy(update={"sha256": model.sha256})
    open_model(pinned, engine="auto", device="cpu", max_batch=1, weights_dir=tmp_path)
    weights = bytearray((tmp_path / "torch_dynamo.onnx.data").read_bytes())
    weights[3] ^= 1
    (tmp_path / "torch_dynamo.onnx.data").write_bytes(bytes(weights))
    with pytest.raises(SettingsError, match="as --sha256 demands"):
        open_model(pinned, engine="auto", device="cpu", max_batch=1, weights_dir=tmp_path)
