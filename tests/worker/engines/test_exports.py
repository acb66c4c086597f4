"""The cache of exports: what makes another one, and what is taken as it is."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
import torchvision.models as zoo

from tests.worker.engines.exports import choice_in, entries
from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.engines.exports import cache, entry
from worker.engines.exports.cache import exported
from worker.engines.exports.entry import find
from worker.engines.select import open_model
from worker.engines.sessions import Damaged
from worker.models.weights import KEPT, file_of, sha256_of


def test_an_entry_is_a_model_and_a_graph(folder: Path) -> None:
    model, path = exported(choice_in(folder), folder)
    assert (model.name, model.weights, model.classes) == ("squeezenet1_1", "mine.pth", ("0", "1", "2"))
    assert not model.named
    assert model.preprocessing.crop == 64
    assert path.name.startswith("squeezenet1_1-")
    assert entries(folder) == [path.with_suffix(".json").name, path.name]


def test_it_is_exported_once_wherever_the_same_file_lies(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = entries(folder)
    (folder / "elsewhere").mkdir()
    moved = Path(shutil.copy(folder / "mine.pth", folder / "elsewhere"))
    labels = tmp_path / "labels.txt"
    labels.write_text("x\ny\nz\n", encoding="utf-8")
    choice = choice_in(folder, model=f"SqueezeNet1_1@{moved}", labels=labels)
    model, _ = open_model(choice, engine="onnxruntime", device="cpu", max_batch=1, weights_dir=folder)
    assert (model.classes, model.named) == (("x", "y", "z"), True)
    assert entries(folder) == before
    assert "exporting" not in caplog.text


def test_other_weights_or_other_preprocessing_make_another(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = exported(choice_in(folder), folder)[1]
    second = exported(choice_in(folder, mean="0.5,0.5,0.5"), folder)[1]
    torch.manual_seed(1)
    torch.save(zoo.squeezenet1_1(weights=None, num_classes=3).state_dict(), folder / "mine.pth")
    third = exported(choice_in(folder), folder)[1]
    assert len({first, second, third}) == 3
    assert caplog.text.count("exporting") == 2


def test_the_pinned_hash_counts_for_a_cached_one_too(folder: Path, weights_dir: Path) -> None:
    model, _ = exported(choice_in(folder), folder)
    assert exported(choice_in(folder, sha256=model.sha256), folder)[0] == model
    with pytest.raises(SettingsError, match="as --sha256 demands"):
        exported(choice_in(folder, sha256="0" * 64), folder)
    with pytest.raises(SettingsError, match="as --sha256 demands"):
        exported(ModelChoice(model="efficientnet_lite0", sha256="0" * 64), weights_dir)


NAMED = ModelChoice(model="squeezenet1_1", crop=64, resize=72)


def put_weights(folder: Path, seed: int) -> str:
    """Put other weights where torchvision's would be downloaded to; returns their hash."""
    torch.manual_seed(seed)
    path = folder / file_of(zoo.get_model_weights("squeezenet1_1").DEFAULT.url)
    torch.save(zoo.squeezenet1_1(weights=None).state_dict(), path)
    return sha256_of(path)


def test_replaced_weights_of_a_name_are_what_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    first = put_weights(tmp_path, 0)
    model, path = exported(NAMED, tmp_path)
    assert model.sha256 == first
    assert exported(NAMED, tmp_path) == (model, path)
    hashed: List[Path] = []
    monkeypatch.setattr(entry, "sha256_of", lambda file: hashed.append(file) or sha256_of(file))
    exported(NAMED, tmp_path)
    assert hashed == [], "a file that is as it was is not read at each start"

    second = put_weights(tmp_path, 1)
    (file,) = tmp_path.glob("squeezenet1_1-*.pth")
    assert find(path, tmp_path, None) == (None, f"{file} is not what its export was made from")
    pinned = NAMED.model_copy(update={"sha256": second})
    again, _ = exported(pinned, tmp_path)
    assert again.sha256 == second != first
    assert exported(NAMED, tmp_path) == exported(pinned, tmp_path) == (again, path)
    with pytest.raises(SettingsError, match=f"{file} has the SHA-256 {second}, and not {first} as --sha256"):
        exported(NAMED.model_copy(update={"sha256": first}), tmp_path)
    assert caplog.text.count("exporting") == 2
    file.unlink()  # as where the folder was copied to: nothing to compare with
    assert exported(NAMED, tmp_path) == (again, path)


def test_a_package_that_was_upgraded_is_exported_anew(
    tmp_path: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite0 = ModelChoice(model="efficientnet_lite0")
    model, path = exported(lite0, weights_dir)
    assert find(path, weights_dir, None) == (model, "")
    upgraded = tmp_path / "efficientnet-lite0-0123abcd.pth"
    upgraded.write_bytes(b"other weights")
    monkeypatch.setattr(entry, "efficientnet_lite0_file", lambda: str(upgraded))
    assert find(path, weights_dir, None) == (None, f"{upgraded} is not what its export was made from")


def test_a_damaged_graph_is_made_anew(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = exported(choice_in(folder), folder)
    flags: Dict[str, Any] = {"engine": "onnxruntime", "device": "cpu", "max_batch": 2}
    for damage in (b"", b"no graph", path.read_bytes()[:1000]):
        path.write_bytes(damage)
        with monkeypatch.context() as without_torch:
            without_torch.setattr(cache, "has_torch", lambda: False)
            with pytest.raises(Damaged):
                open_model(choice_in(folder), weights_dir=folder, **flags)
    with pytest.raises(SettingsError, match=r"mine\.pth has 3 classes: name them in a file.*--labels"):
        open_model(choice_in(folder), weights_dir=folder, **flags)
    assert "exporting it again" in caplog.text
    assert "exporting it again" not in _reopened(folder, caplog)


def _reopened(folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    labels = folder / "labels.txt"
    labels.write_text("x\ny\nz\n", encoding="utf-8")
    _, engine = open_model(
        choice_in(folder, labels=labels), engine="auto", device="cpu", max_batch=2, weights_dir=folder
    )
    assert engine.infer(np.zeros((2, 64, 64, 3), np.uint8)).shape == (2, 3)
    return caplog.text


def test_a_damaged_description_is_made_anew(folder: Path) -> None:
    model, path = exported(choice_in(folder), folder)
    assert find(path, folder, None) == (model, "")
    for damage in (b"", b"{", b'{"name": "x"}'):
        path.with_suffix(".json").write_bytes(damage)
        assert find(path, folder, None)[0] is None
    assert exported(choice_in(folder), folder) == (model, path)


def test_only_what_exists_is_said_to_be_exported_and_by_nobody_else(
    folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(SettingsError, match="did you mean squeezenet1_1"):
        exported(ModelChoice(model="squeezenet11"), folder)
    assert "exporting" not in caplog.text
    exported(choice_in(folder, crop=66), folder)
    assert "exporting squeezenet1_1@" in caplog.text
    assert capfd.readouterr() == ("", "")


def test_what_nobody_used_for_long_goes(folder: Path) -> None:
    old = folder / "nanofleet" / "old-0123.json"
    old.write_text(json.dumps({}), encoding="utf-8")
    old.with_suffix(".onnx").touch()
    _, used = exported(choice_in(folder), folder)
    long_ago = time.time() - KEPT - 60
    for path in (old, used.with_suffix(".json")):
        os.utime(path, (long_ago, long_ago))
    early = old.with_name("early-0123.json")  # of 1970: written before the machine heard of the time
    early.write_text(json.dumps({}), encoding="utf-8")
    os.utime(early, (86_400, 86_400))
    exported(choice_in(folder), folder)  # uses it, and so keeps it
    exported(choice_in(folder, crop=65), folder)
    assert not old.exists()
    assert not old.with_suffix(".onnx").exists()
    assert used.exists()
    assert early.exists()
    early.unlink()
