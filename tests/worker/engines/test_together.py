"""OpenVINO compiles for each number of images that it runs together: they are few, whatever a batch is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest

from tests.worker.engines.exports import choice_in
from tests.worker.engines.graphs import SIDE, Net
from tests.worker.engines.libraries import needs_openvino
from wire.model_choice import ModelChoice
from worker.engines.select import open_model

pytestmark = needs_openvino


class Watched:
    """A session, and how many images each of its runs had."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.runs: List[int] = []
        self.cold = session.cold

    def run(self, names: None, feed: Dict[str, Any], options: Any = None) -> List[Any]:
        (images,) = feed.values()
        self.runs.append(len(images))
        answers: List[Any] = self._session.run(names, feed, options)
        return answers


def engines(choice: ModelChoice, folder: Path) -> Any:
    """OpenVINO's, watched, and ONNX Runtime's."""
    how: Any = {"device": "cpu", "max_batch": 64, "weights_dir": folder, "precision": "exact"}
    found: Any = open_model(choice, engine="openvino", **how)[1]
    found._session = Watched(found._session)
    return found, open_model(choice, engine="onnxruntime", **how)[1]


def pictures(count: int, side: int) -> Any:
    return np.random.default_rng(3).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def net(path: Path, images: Any) -> ModelChoice:
    graph = Net((images, 3, SIDE, SIDE))
    graph.give(graph.add("Softmax", graph.means(), axis=1), (images, 3)).save(path)
    return ModelChoice(model=str(path), labels=labels(path.parent), fit="squeeze", scaling="unit")


def labels(folder: Path) -> Path:
    path = folder / "labels.txt"
    path.write_text("red\ngreen\nblue\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["export", "file"])
def test_a_large_batch_is_run_in_parts(kind: str, folder: Path, tmp_path: Path) -> None:
    choice = net(tmp_path / "net.onnx", "N")
    if kind == "export":
        choice = choice_in(folder, labels=labels(tmp_path))
    engine, other = engines(choice, folder)
    engine.warm_up()
    assert sorted(engine._session.runs) == sorted([1, *2 * [1, 2, 4, 8]])
    images = pictures(19, 64 if kind == "export" else SIDE)
    engine._session.runs.clear()
    answers = engine.infer(images)
    assert engine._session.runs == [8, 8, 3]
    np.testing.assert_allclose(answers, other.infer(images), atol=1e-3)


def test_a_file_of_one_size_of_batch_is_warmed_for_that_alone(tmp_path: Path) -> None:
    engine, other = engines(net(tmp_path / "two.onnx", 2), tmp_path)
    engine.warm_up()
    assert engine._session.runs == [2] * 3
    images = pictures(5, SIDE)
    np.testing.assert_allclose(engine.infer(images), other.infer(images), atol=1e-3)
