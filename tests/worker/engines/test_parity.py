"""The engines say what plain PyTorch says: float32, channels first, normalised in two steps."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Iterator, List

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.worker.photos import crops
from tests.worker.seeded import seed_weights
from wire.model_choice import ModelChoice
from worker.engines.base import EngineName
from worker.engines.select import open_model
from worker.models.info import ALIASES, Model
from worker.models.loader import load_model

#: The tutorial's seven, and the one whose real weights are at hand.
NAMES = [
    "alexnet",
    "vgg16",
    "googlenet",
    "densenet",
    "resnet18",
    "inception",
    "mobilenet",
    "efficientnet_lite0",
]


@pytest.fixture
def weights_dir(tmp_path: Path) -> Iterator[Path]:
    """Emptied afterwards: VGG-16 alone is half a gigabyte, and as much again when exported."""
    yield tmp_path
    for path in [*tmp_path.glob("*.pth"), *tmp_path.glob("nanofleet/*.onnx")]:
        path.unlink()


def eager(model: Model, module: torch.nn.Module, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    mean = torch.tensor(model.preprocessing.mean).view(1, 3, 1, 1)
    std = torch.tensor(model.preprocessing.std).view(1, 3, 1, 1)
    images = torch.from_numpy(batch.copy()).permute(0, 3, 1, 2).contiguous().float() / 255
    with torch.no_grad():
        probabilities: NDArray[np.float32] = module((images - mean) / std).softmax(1).numpy()
    return probabilities


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                name == "inception" and sys.version_info < (3, 9),
                reason="onnxruntime 1.19 folds the norms of an untrained Inception v3 with other results; "
                "the export's own comparison then has PyTorch serve",
            ),
        )
        for name in NAMES
    ],
)
def test_the_engines_agree_with_plain_torch(name: str, weights_dir: Path) -> None:
    if name != "efficientnet_lite0":
        seed_weights(weights_dir, ALIASES.get(name, name))
    choice = ModelChoice(model=name)
    model, module = load_model(choice, weights_dir)
    photos = crops(model.preprocessing)
    expected = eager(model, module, photos)
    assert expected.max() > 0.01, "an answer that knows no class shows nothing"
    engines: List[EngineName] = ["torch", "onnxruntime"]
    if importlib.util.find_spec("openvino") is not None:
        engines.append("openvino")
    for engine_name in engines:
        opened, engine = open_model(
            choice, engine=engine_name, precision="exact", device="cpu", max_batch=4, weights_dir=weights_dir
        )
        assert opened == model
        for size in (1, len(photos)):  # an exporter may have taken a batch to be two, or two or more
            found = engine.infer(photos[:size])
            assert (found.argmax(1) == expected[:size].argmax(1)).all()
            np.testing.assert_allclose(found, expected[:size], atol=1e-3)
