"""The engines on real weights: what they see, which one runs, and what they say when they cannot."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Iterator, List, Sequence, Tuple

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from tests.worker.engines.libraries import needs_openvino
from tests.worker.photos import PHOTOS, crops
from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.engines.base import Engine, Pick, top_k
from worker.engines.exports.cache import exported
from worker.engines.installed import CUDA, TENSORRT
from worker.engines.onnx_engine import _providers, open_session
from worker.engines.pytorch.engine import TorchEngine, cuda_device
from worker.engines.select import open_model
from worker.engines.sessions import DeviceUnusable
from worker.errors import NotANumber
from worker.models.info import Model
from worker.models.loader import load_model

LITE0 = ModelChoice(model="efficientnet_lite0")
ROOT = Path(__file__).resolve().parents[3]
CPU = ["CPUExecutionProvider"]
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")


@pytest.fixture(scope="module")
def photos() -> NDArray[np.uint8]:
    """uint8 [8, 224, 224, 3]: the photos, and the photos mirrored."""
    upright = crops(LITE0_PREPROCESSING)
    return np.concatenate([upright, upright[:, :, ::-1]])


LITE0_PREPROCESSING = load_model(LITE0, Path("unused"))[0].preprocessing


@pytest.fixture(
    scope="module", params=["torch", "onnxruntime", pytest.param("openvino", marks=needs_openvino)]
)
def opened(request: pytest.FixtureRequest, weights_dir: Path) -> Tuple[Model, Engine]:
    how: Any = {"device": "cpu", "max_batch": 8, "weights_dir": weights_dir, "precision": "exact"}
    return open_model(LITE0, engine=request.param, **how)


def test_it_sees_what_is_in_the_photos(opened: Tuple[Model, Engine], photos: NDArray[np.uint8]) -> None:
    model, engine = opened
    engine.warm_up()
    probabilities = engine.infer(photos[: len(PHOTOS)])
    assert [model.classes[top_k(row, 1)[0][0]] for row in probabilities] == list(PHOTOS.values())
    assert [top_k(row, 1)[0][1] for row in probabilities[:2]] == pytest.approx([0.84, 0.41], abs=0.02)
    assert (engine.device, engine.why) == ("cpu", "asked for; cpu: asked for")


def test_a_frame_does_not_depend_on_its_batch(
    opened: Tuple[Model, Engine], photos: NDArray[np.uint8]
) -> None:
    _, engine = opened
    together = engine.infer(photos)
    assert (together.shape, together.dtype) == ((8, 1000), np.float32)
    np.testing.assert_allclose(together.sum(1), 1, atol=1e-5)
    for size in (1, 3):
        parts = [engine.infer(photos[start : start + size]) for start in range(0, 8, size)]
        np.testing.assert_allclose(np.concatenate(parts), together, atol=1e-5)


def test_it_reads_pixels_it_may_not_write_to(opened: Tuple[Model, Engine], photos: NDArray[np.uint8]) -> None:
    borrowed = np.frombuffer(photos.tobytes(), np.uint8).reshape(photos.shape)
    np.testing.assert_array_equal(opened[1].infer(borrowed[:2]), opened[1].infer(photos[:2]))


def test_torch_leaves_the_module_as_it_was(photos: NDArray[np.uint8]) -> None:
    model, module = load_model(LITE0, Path("unused"))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    engine = TorchEngine(model, module, "cpu", "", 2)
    engine.warm_up()
    engine.infer(photos[:2])
    after = module.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert all(parameter.is_contiguous() for parameter in module.parameters())


def test_auto_without_cuda_is_onnxruntime_and_says_so(weights_dir: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("has a CUDA device")
    _, engine = open_model(LITE0, engine="auto", max_batch=1, weights_dir=weights_dir)
    assert (engine.name, engine.device) == ("onnxruntime", "cpu")
    assert engine.why.endswith("; cpu: no CUDA device")


def test_auto_without_onnxruntime_is_torch_and_says_so(
    weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    _, engine = open_model(LITE0, engine="auto", device="cpu", max_batch=1, weights_dir=weights_dir)
    assert engine.name == "torch"
    assert "onnxruntime, which is faster, is not installed" in engine.why
    with pytest.raises(SettingsError, match="pip install onnxruntime"):
        open_model(LITE0, engine="onnxruntime", device="cpu", max_batch=1, weights_dir=weights_dir)


def test_the_cpu_has_a_number_too(weights_dir: Path) -> None:
    _, engine = open_model(LITE0, engine="auto", device="cpu:0", max_batch=1, weights_dir=weights_dir)
    assert (engine.name, engine.device) == ("onnxruntime", "cpu")


@without_cuda
def test_a_gpu_that_onnxruntime_cannot_use_is_not_called_used(
    weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that misses cuDNN leaves the CUDA provider out, and says it in its log alone."""
    monkeypatch.setattr("worker.engines.onnx_engine._providers", lambda *_: [["CPUExecutionProvider"]])
    pick = Pick("onnxruntime", "cuda", "for a test")
    monkeypatch.setattr("worker.engines.select.pick_engine", lambda *_: pick)
    with pytest.raises(DeviceUnusable, match="onnxruntime cannot use device cuda"):
        open_model(LITE0, engine="onnxruntime", device="cuda", max_batch=1, weights_dir=weights_dir)
    _, engine = open_model(LITE0, engine="auto", device="auto", max_batch=1, weights_dir=weights_dir)
    assert (engine.name, engine.device) == ("onnxruntime", "cpu")
    assert "; cpu: onnxruntime cannot use device cuda" in engine.why


def test_libraries_that_are_not_there_leave_stdout_alone(
    weights_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A build with TensorRT, and no TensorRT: `classify --json` may be writing there."""
    _, path = exported(LITE0, weights_dir)
    refused: Any = [("CPUExecutionProvider", "no options"), *CPU]
    monkeypatch.setattr("worker.engines.onnx_engine._providers", lambda *_: [refused, refused, CPU])
    with pytest.raises(DeviceUnusable) as raised:
        open_session(path, "cuda", weights_dir)
    assert "providers" in str(raised.value.__cause__)
    assert capfd.readouterr().out == ""


@without_cuda
def test_cuda_that_is_found_and_fails_means_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a card that is older than the build; here PyTorch fails because there is no driver."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    place, why = cuda_device("auto")
    assert place == "cpu"
    assert why.startswith("PyTorch finds CUDA and cannot use it: ")


@pytest.fixture
def tf32() -> Iterator[List[Any]]:
    """PyTorch's settings of it, which are turned on."""
    places: List[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    yield places
    for place, was in zip(places, before):
        place.allow_tf32 = was


def test_exact_is_without_tf32(tf32: List[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU both libraries round what they multiply to 10 bits of mantissa, unless told."""
    lite0 = load_model(LITE0, Path("unused"))
    TorchEngine(*lite0, "cpu", "", 1)
    assert [place.allow_tf32 for place in tf32] == [True, True]
    TorchEngine(*lite0, "cpu", "", 1, exact=True)
    assert [place.allow_tf32 for place in tf32] == [False, False]
    monkeypatch.setattr("worker.engines.onnx_engine.providers", lambda: [CUDA, *CPU])
    exact: Any = _providers("cuda:1", tmp_path, "float32")
    half: Any = _providers("cuda:1", tmp_path, "float16")
    assert exact == [[(CUDA, {"device_id": 1, "use_tf32": 0}), *CPU], CPU]
    assert half == [[(CUDA, {"device_id": 1, "use_tf32": 1}), *CPU], CPU]
    monkeypatch.setattr("worker.engines.onnx_engine.providers", lambda: [TENSORRT, CUDA, *CPU])
    assert _providers("cuda:1", tmp_path, "float32") == exact  # TensorRT takes it as well
    tensorrt: Any = _providers("cuda:1", tmp_path, "float16")
    assert [first for (first, _), *_ in tensorrt[:-1]] == [TENSORRT, CUDA]
    assert tensorrt[1:] == half


@without_cuda
def test_with_an_export_at_hand_torch_stays_out_of_the_process(weights_dir: Path) -> None:
    open_model(LITE0, engine="onnxruntime", device="cpu", max_batch=1, weights_dir=weights_dir)
    script = """
        import sys
        from pathlib import Path
        import worker.service
        from wire.model_choice import ModelChoice
        from worker.engines.select import open_model

        choice = ModelChoice(model="efficientnet_lite0")
        model, engine = open_model(choice, engine="auto", max_batch=8, weights_dir=Path(sys.argv[1]))
        engine.warm_up()
        status = Path("/proc/self/status").read_text()
        print("torch" in sys.modules, int(status.split("VmHWM:")[1].split()[0]) // 1024)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(weights_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    imported, megabytes = done.stdout.split()
    print(f"peak memory without PyTorch: {megabytes} MB")
    assert imported == "False"
    assert int(megabytes) < 400  # PyTorch alone would be as much


@without_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_where_there_is_none_says_which_torch_is_installed(device: str, weights_dir: Path) -> None:
    with pytest.raises(SettingsError, match=f"device {device}: torch ") as raised:
        open_model(LITE0, engine="torch", device=device, max_batch=1, weights_dir=weights_dir)
    assert torch.__version__ in str(raised.value)
    assert "--device cpu" in str(raised.value)


@pytest.mark.parametrize("device", ["gpu", "", "mps", "cuda:x", "meta"])
def test_an_unknown_device_says_which_are_known(device: str, weights_dir: Path) -> None:
    with pytest.raises(SettingsError, match="known are auto, cpu, cuda"):
        open_model(LITE0, engine="auto", device=device, max_batch=1, weights_dir=weights_dir)


def test_an_unknown_engine_says_which_are_known(weights_dir: Path) -> None:
    with pytest.raises(
        SettingsError, match="unknown engine 'warp': known are auto, torch, onnxruntime, openvino"
    ):
        open_model(LITE0, engine="warp", max_batch=1, weights_dir=weights_dir)  # type: ignore[arg-type]


@on_cuda
def test_half_precision_on_cuda_agrees_with_float32(weights_dir: Path, photos: NDArray[np.uint8]) -> None:
    _, engine = open_model(LITE0, engine="torch", max_batch=8, weights_dir=weights_dir)
    _, reference = open_model(LITE0, engine="torch", device="cpu", max_batch=8, weights_dir=weights_dir)
    assert engine.device == "cuda"
    engine.warm_up()
    found, expected = engine.infer(photos), reference.infer(photos)
    assert found.dtype == np.float32
    assert (found.argmax(1) == expected.argmax(1)).all()
    np.testing.assert_allclose(found, expected, atol=2e-2)


def test_onnxruntime_keeps_its_remarks_to_itself(
    weights_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    open_model(LITE0, engine="onnxruntime", device="cpu", max_batch=1, weights_dir=weights_dir)
    assert "CPUExecutionProvider" in onnxruntime.get_available_providers()
    assert capfd.readouterr() == ("", "")


def test_top_k_is_best_first_and_ties_go_to_the_lower_index() -> None:
    probabilities = np.array([0.1, 0.3, 0.1, 0.3, 0.2], np.float32)
    assert [index for index, _ in top_k(probabilities, 4)] == [1, 3, 4, 0]
    assert top_k(probabilities, 1) == [(1, pytest.approx(0.3))]
    assert len(top_k(probabilities, 9)) == 5
    assert all(type(index) is int and type(value) is float for index, value in top_k(probabilities, 2))


@pytest.mark.parametrize("digits", [1, 2, 8], ids=["nearly all tie", "many tie", "none ties"])
def test_top_k_is_the_beginning_of_all_classes_sorted(digits: int) -> None:
    for seed in range(20):
        row = np.random.default_rng(seed).dirichlet(np.full(50, 0.3)).round(digits).astype(np.float32)
        everyone = sorted(range(50), key=lambda index: (-row[index], index))
        for k in (1, 5, 49, 50, 60):
            assert [index for index, _ in top_k(row, k)] == everyone[:k]


@pytest.mark.parametrize("values", [[0.2, -0.5], [0.2, 1.5], [np.nan, 0.1], [np.inf, 0.1]])
def test_what_is_no_probability_is_no_answer(values: Sequence[float]) -> None:
    with pytest.raises(NotANumber):
        top_k(np.array(values, np.float32), 2)


def test_what_is_rounded_beyond_1_is_1() -> None:
    assert top_k(np.array([1.004, -0.002], np.float32), 2) == [(0, 1.0), (1, 0.0)]
