"""Which model: as flags, as JSON on the control topic, and confined to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import pytest
from pydantic import ValidationError

from wire.messages import ModelCommand
from wire.model_choice import ModelChoice, is_checkpoint


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model": ""}, "at least 1 character"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"std": (0.2, 0.2, 0.0)}, "more than 0"),
        ({"mean": "0.5,0.5"}, "three numbers, for red, green and blue, not 2"),
        ({"crop": 0}, "greater than or equal to 1"),
        ({"interpolation": "nearest"}, "bilinear"),
        ({"modle": "resnet18"}, "Extra inputs"),
    ],
)
def test_nonsense_is_refused(fields: Dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ModelChoice(**fields)


def test_a_command_survives_the_wire() -> None:
    choice = ModelChoice(
        model="resnet18@birds.pth",
        labels=Path("birds.txt"),
        sha256="AB" * 32,
        crop=192,
        mean="0.5,0.5,0.5",  # type: ignore[arg-type]
    )
    assert choice.sha256 == "ab" * 32
    assert choice.mean == (0.5, 0.5, 0.5)
    command = ModelCommand(id="c1", choice=choice, compare=True)
    assert ModelCommand.decode(command.encode()) == command


def test_by_hand_a_model_is_enough() -> None:
    command = ModelCommand.decode(b'{"choice": {"model": "resnet18"}}')
    assert (command.choice, command.id, command.compare) == (ModelChoice(model="resnet18"), "", False)


def test_files_are_looked_for_in_a_folder(tmp_path: Path) -> None:
    choice = ModelChoice(model="resnet18@mine/birds.pth", labels=Path("birds.txt"))
    below = choice.below(tmp_path)
    assert below.model == f"resnet18@{tmp_path / 'mine' / 'birds.pth'}"
    assert below.labels == tmp_path / "birds.txt"
    for name in ("birds.onnx", "birds@v2.onnx"):
        assert ModelChoice(model=name).below(tmp_path).model == str(tmp_path / name)
    named = ModelChoice(model="resnet50@IMAGENET1K_V2")
    assert named.below(tmp_path) == named


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "resnet18@/etc/birds.pth"},
        {"model": "resnet18@/etc/passwd"},
        {"model": "resnet18@../birds.pth.tar"},
        {"model": "resnet18@../birds"},
        {"model": "resnet18@link/birds.ckpt"},
        {"model": "resnet18@.."},
        {"model": "resnet18@../birds.safetensors"},
        {"model": "/etc/birds.onnx"},
        {"model": "/etc/birds@home/birds.onnx"},
        {"model": "link/birds.onnx"},
        {"model": "resnet18", "labels": Path("/etc/passwd")},
        {"model": "resnet18", "labels": Path("../../etc/passwd")},
    ],
)
def test_and_nowhere_else(fields: Dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="not a file below the worker's weights folder"):
        ModelChoice(**fields).below(tmp_path / "weights")


def test_what_follows_the_at_is_a_file_or_the_name_of_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.pth",
        "model_best.pth.tar",
        "epoch=3.ckpt",
        "M.PTH",
        "./best",
        "my-best",
        "my best",
        "/x",
    ):
        assert is_checkpoint(name), name
    for name in ("", "DEFAULT", "default", "IMAGENET1K_V1", "imagenet1k_swag_e2e_v1", "best", "V3"):
        assert not is_checkpoint(name), name
    for name in ("best", "IMAGENET1K_V1"):
        (tmp_path / name).write_bytes(b"x")
    assert is_checkpoint("best")
    assert not is_checkpoint("IMAGENET1K_V1")


def test_a_word_over_the_wire_is_a_file_of_the_folder_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best").write_bytes(b"outside")
    (tmp_path / "weights").mkdir()
    below = ModelChoice(model="resnet18@best").below(tmp_path / "weights")
    assert below.model == f"resnet18@{tmp_path / 'weights' / 'best'}"
    for name in ("mine.ckpt", "mine.pth.tar", "MINE.PTH", "mine"):
        below = ModelChoice(model=f"resnet18@{name}").below(tmp_path / "weights")
        assert below.model == f"resnet18@{tmp_path / 'weights' / name}"
    named = ModelChoice(model="resnet18@imagenet1k_v1")
    assert named.below(tmp_path) == named
