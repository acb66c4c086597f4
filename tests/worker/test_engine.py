from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import List

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from wire.errors import SettingsError
from worker.engine import Engine, open_engine, top_k
from worker.models import Model, load_model

PHOTOS = {
    "coffee.png": "espresso",
    "rocket.jpg": "missile",
    "chelsea.png": "Egyptian cat",
    "motorcycle_left.png": "moped",
}
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("efficientnet_lite0")


@pytest.fixture(scope="module")
def cpu(model: Model) -> Engine:
    return open_engine(model, engine="torch", device="cpu", max_batch=8)


@pytest.fixture(scope="module")
def photos() -> NDArray[np.uint8]:
    """uint8 [8, 224, 224, 3]: the photos, and the photos mirrored."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    prepare = Compose([Resize(256), CenterCrop(224)])
    images: List[NDArray[np.uint8]] = []
    for name in PHOTOS:
        with Image.open(Path(spec.origin).parent / "data" / name) as image:
            images.append(np.asarray(prepare(image.convert("RGB"))))
    upright = np.stack(images)
    return np.concatenate([upright, upright[:, :, ::-1]])


def eager(model: Model, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The textbook way: float32, channels first, normalised in two steps."""
    mean = torch.tensor(model.preprocessing.mean).view(1, 3, 1, 1)
    std = torch.tensor(model.preprocessing.std).view(1, 3, 1, 1)
    images = torch.from_numpy(batch.copy()).permute(0, 3, 1, 2).contiguous().float() / 255
    with torch.no_grad():
        probabilities: NDArray[np.float32] = model.module((images - mean) / std).softmax(1).numpy()
    return probabilities


def test_it_sees_what_is_in_the_photos(model: Model, cpu: Engine, photos: NDArray[np.uint8]) -> None:
    probabilities = cpu.infer(photos[:4])
    assert [model.classes[top_k(row, 1)[0][0]] for row in probabilities] == list(PHOTOS.values())
    assert [top_k(row, 1)[0][1] for row in probabilities[:2]] == pytest.approx([0.84, 0.41], abs=0.02)


def test_it_agrees_with_plain_eager_torch(model: Model, cpu: Engine, photos: NDArray[np.uint8]) -> None:
    probabilities = cpu.infer(photos)
    expected = eager(model, photos)
    assert (probabilities.shape, probabilities.dtype) == ((8, 1000), np.float32)
    assert (probabilities.argmax(1) == expected.argmax(1)).all()
    np.testing.assert_allclose(probabilities, expected, atol=1e-3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_a_frame_does_not_depend_on_its_batch(cpu: Engine, photos: NDArray[np.uint8]) -> None:
    together = cpu.infer(photos)
    for size in (1, 3):
        parts = [cpu.infer(photos[start : start + size]) for start in range(0, 8, size)]
        np.testing.assert_allclose(np.concatenate(parts), together, atol=1e-5)


def test_it_reads_pixels_it_may_not_write_to(cpu: Engine, photos: NDArray[np.uint8]) -> None:
    borrowed = np.frombuffer(photos.tobytes(), np.uint8).reshape(photos.shape)
    np.testing.assert_array_equal(cpu.infer(borrowed[:2]), cpu.infer(photos[:2]))


def test_it_leaves_the_model_as_it_was(model: Model, photos: NDArray[np.uint8]) -> None:
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    engine = open_engine(model, engine="auto", max_batch=2)
    engine.warm_up()
    engine.infer(photos[:2])
    after = model.module.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert all(parameter.is_contiguous() for parameter in model.module.parameters())


@without_cuda
def test_auto_is_the_cpu_where_there_is_no_cuda(model: Model) -> None:
    engine = open_engine(model, engine="auto", device="auto", max_batch=1)
    assert (engine.name, engine.device) == ("torch", "cpu")


@without_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_where_there_is_none_says_which_torch_is_installed(model: Model, device: str) -> None:
    with pytest.raises(SettingsError, match=f"device {device}: torch ") as raised:
        open_engine(model, engine="torch", device=device, max_batch=1)
    assert torch.__version__ in str(raised.value)
    assert "--device cpu" in str(raised.value)


@pytest.mark.parametrize("device", ["gpu", "", "mps", "cuda:x", "meta"])
def test_an_unknown_device_says_which_are_known(model: Model, device: str) -> None:
    with pytest.raises(SettingsError, match="known are auto, cpu, cuda"):
        open_engine(model, engine="torch", device=device, max_batch=1)


def test_an_unknown_engine_says_which_are_known(model: Model) -> None:
    with pytest.raises(SettingsError, match="unknown engine 'warp': known are auto, torch"):
        open_engine(model, engine="warp", max_batch=1)  # type: ignore[arg-type]


@on_cuda
def test_half_precision_on_cuda_agrees_with_float32(model: Model, photos: NDArray[np.uint8]) -> None:
    engine = open_engine(model, engine="auto", max_batch=8)
    assert engine.device == "cuda"
    engine.warm_up()
    probabilities = engine.infer(photos)
    expected = eager(model, photos)
    assert probabilities.dtype == np.float32
    assert (probabilities.argmax(1) == expected.argmax(1)).all()
    np.testing.assert_allclose(probabilities, expected, atol=2e-2)


def test_top_k_is_best_first_and_ties_go_to_the_lower_index() -> None:
    probabilities = np.array([0.1, 0.3, 0.1, 0.3, 0.2], np.float32)
    assert [index for index, _ in top_k(probabilities, 4)] == [1, 3, 4, 0]
    assert top_k(probabilities, 1) == [(1, pytest.approx(0.3))]
    assert len(top_k(probabilities, 9)) == 5
    assert all(type(index) is int and type(value) is float for index, value in top_k(probabilities, 2))
