"""Which engine runs a model.

FILE.onnx ─────────────────────────────────────> ONNX Runtime
CUDA:  TensorRT in ONNX Runtime, if built so ──> ONNX Runtime      else ──> PyTorch, half precision
CPU:   ONNX Runtime, if installed ─────────────> ONNX Runtime      else ──> PyTorch
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from pathlib import Path
from typing import List, Optional, Tuple

from wire.choice import ModelChoice
from wire.errors import SettingsError
from worker.engines.base import Engine, EngineName, Pick, TwoClasses
from worker.engines.onnx_files import is_onnx
from worker.models.foreign import by_name
from worker.models.info import Model
from worker.models.overrides import relabelled

log = logging.getLogger(__name__)

# Where the drivers of desktop cards, of Jetsons before and after JetPack 6, and of WSL show themselves.
_CUDA_NODES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg")


def best_batch(choice: ModelChoice, engine: EngineName, device: str) -> int:
    """The batch that gives the most frames a second where `open_model` would run this model.

    A GPU wants much to do at once. A CPU wants what its caches hold: on 2 cores MobileNet v2 answered about
    5% more frames in batches of 2 or 4 than in batches of 8.

    Raises:
        SettingsError: no such engine or device here.
    """
    return 4 if runs_on_cpu(choice, engine, device) else 16


def runs_on_cpu(choice: ModelChoice, engine: EngineName, device: str) -> bool:
    """Whether `open_model` would run this model on the CPU.

    Raises:
        SettingsError: no such engine or device here.
    """
    return _pick(engine, device, is_onnx(choice.model)).device == "cpu"


def open_model(
    choice: ModelChoice,
    *,
    engine: EngineName,
    device: str = "auto",
    max_batch: int,
    weights_dir: Path,
    stop: Optional[threading.Event] = None,
) -> Tuple[Model, Engine]:
    """Load a model into the engine that is to run it.

    Args:
        choice: which model.
        engine: `auto` for the fastest that is installed for the device.
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        max_batch: frames in a batch, at most.
        weights_dir: where weights and exports are kept.
        stop: set to give up waiting for an export.

    Raises:
        SettingsError: no such engine or device here; see `load_model` and `open_onnx` for the model.
        NanofleetError: the weights are not to be had, or `stop` was set.
    """
    own_onnx = is_onnx(choice.model)
    foreign = None if own_onnx or "@" in choice.model else by_name(choice.model)
    if foreign:
        raise SettingsError(foreign)
    pick = _pick(engine, device, own_onnx)
    # Each engine imports what it needs: with ONNX Runtime, PyTorch never comes into this process.
    opened: Tuple[Model, Engine]
    if own_onnx:
        from worker.engines.onnx_file import open_onnx

        opened = open_onnx(choice, pick, max_batch, weights_dir)
    elif pick.engine == "torch":
        opened = _open_torch(choice, pick, max_batch, weights_dir)
    else:
        from worker.engines.export_cache import ExportError
        from worker.engines.onnx_engine import DeviceUnusable

        try:
            opened = _open_export(choice, pick, max_batch, weights_dir, stop)
        except (ExportError, DeviceUnusable) as error:
            if engine == "onnxruntime":
                raise
            log.warning("%s: %s; running it with PyTorch", choice.model, error)
            slower = pick._replace(why=f"onnxruntime is faster, but {error}")
            opened = _open_torch(choice, slower, max_batch, weights_dir)
    found, runner = opened
    model = relabelled(found, choice.labels)
    if choice.threshold is not None:
        model = model.model_copy(update={"threshold": choice.threshold})
    if len(model.classes) == 2 and len(found.classes) == 1:
        runner = TwoClasses(runner)
    for sentence in model.assumed:
        log.warning("%s: %s", choice.model, sentence)
    return model, runner


def _open_export(
    choice: ModelChoice, pick: Pick, max_batch: int, weights_dir: Path, stop: Optional[threading.Event]
) -> Tuple[Model, Engine]:
    from worker.engines.export_cache import exported, forget
    from worker.engines.onnx_engine import Damaged, OnnxEngine

    model, path = exported(choice, weights_dir, stop)
    try:
        return model, OnnxEngine(path, model.preprocessing.shape, pick, max_batch, weights_dir)
    except Damaged as error:
        log.warning("%s; exporting it anew", error)
        forget(path)
    model, path = exported(choice, weights_dir, stop)
    return model, OnnxEngine(path, model.preprocessing.shape, pick, max_batch, weights_dir)


def _open_torch(choice: ModelChoice, pick: Pick, max_batch: int, weights_dir: Path) -> Tuple[Model, Engine]:
    from worker.engines.torch_engine import TorchEngine
    from worker.models.loader import load_model

    model, module = load_model(choice, weights_dir)
    return model, TorchEngine(model, module, pick.device, pick.why, max_batch)


def _pick(engine: EngineName, device: str, own_onnx: bool) -> Pick:
    if engine not in ("auto", "torch", "onnxruntime"):
        raise SettingsError(f"unknown engine {engine!r}: known are auto, torch, onnxruntime")
    installed = importlib.util.find_spec("onnxruntime") is not None
    if own_onnx and engine == "torch":
        raise SettingsError("--engine torch: an ONNX file is run by onnxruntime")
    if not installed and (own_onnx or engine == "onnxruntime"):
        raise SettingsError("onnxruntime is not installed: pip install onnxruntime")

    device, whether = _device(device)
    providers = _providers() if installed else []
    if own_onnx:
        wanted, why = "onnxruntime", "an ONNX file"
    elif engine != "auto":
        wanted, why = engine, "asked for"
    elif device == "cpu":
        wanted = "onnxruntime" if installed else "torch"
        why = "the fastest on a CPU" if installed else "onnxruntime, which is faster, is not installed"
    elif "TensorrtExecutionProvider" in providers:
        wanted, why = "onnxruntime", "with TensorRT the fastest on CUDA"
    else:
        wanted, why = "torch", "half precision; onnxruntime is not built with TensorRT"
    if wanted == "onnxruntime" and device != "cpu" and "CUDAExecutionProvider" not in providers:
        if whether == "asked for" and engine == "onnxruntime":
            raise SettingsError(
                f"device {device}: this onnxruntime is built without CUDA. Install onnxruntime-gpu, or take "
                "--device cpu or --engine torch"
            )
        device, whether = "cpu", "this onnxruntime is built without CUDA"
    return Pick("torch" if wanted == "torch" else "onnxruntime", device, f"{why}; {device}: {whether}")


def _providers() -> List[str]:
    import onnxruntime

    providers: List[str] = onnxruntime.get_available_providers()
    return providers


def _device(name: str) -> Tuple[str, str]:
    """A device that is there, and why it."""
    if name in ("cpu", "cpu:0"):
        return "cpu", "asked for"
    if name == "auto" and not any(Path(node).exists() for node in _CUDA_NODES):
        return "cpu", "no CUDA device"

    from worker.engines.torch_engine import cuda_device

    return cuda_device(name)
