"""Which engine runs a model, and where.

FILE.onnx ─────────────────────────────────────> ONNX Runtime
CUDA:  TensorRT in ONNX Runtime, if built so ──> ONNX Runtime      else ──> PyTorch, half precision
       no PyTorch that can use CUDA ───────────> ONNX Runtime, on CUDA if it is built so
CPU:   ONNX Runtime, if installed ─────────────> ONNX Runtime      else ──> PyTorch

Where several may run it, `worker.engines.fastest` finds out which one is the fastest: this is what serves
until that is known. PyTorch takes seconds and hundreds of megabytes to import, and may not be there, or not
start: it is asked for CUDA only where it would run the model, and not before others were tried.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Tuple

from wire.errors import SettingsError
from wire.install import how_to_install
from wire.printable import cut, first_line
from worker.engines.base import EngineName, Pick
from worker.engines.fastest.gpu import is_missing
from worker.engines.installed import CUDA, TENSORRT, cuda_libraries, has_openvino, providers

# Where the drivers of desktop cards, of Jetsons before and after JetPack 6, and of WSL show themselves.
_CUDA_NODES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg")
_DEVICE = re.compile(r"auto|cpu(:0)?|cuda(:(0|[1-9]\d{0,2}))?")


def pick_engine(engine: EngineName, device: str, own_onnx: bool) -> Pick:
    """The engine and the device that run a model here, and why these.

    Args:
        engine: `auto` for the fastest that is installed for the device.
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        own_onnx: whether the model is an ONNX file.

    Raises:
        SettingsError: no such engine or device here.
    """
    if engine not in ("auto", "torch", "onnxruntime", "openvino"):
        raise SettingsError(f"unknown engine {engine!r}: known are auto, torch, onnxruntime, openvino")
    if not _DEVICE.fullmatch(device):
        raise SettingsError(f"unknown device {device!r}: known are auto, cpu, cuda, cuda:N")
    installed = importlib.util.find_spec("onnxruntime") is not None
    if own_onnx and engine == "torch":
        raise SettingsError("--engine torch: an ONNX file is run by onnxruntime")
    if engine == "openvino":
        return _openvino(device)
    if not installed and (own_onnx or engine == "onnxruntime"):
        raise SettingsError("onnxruntime is not installed: pip install onnxruntime")
    if own_onnx or engine == "onnxruntime":
        return _onnxruntime(device, "an ONNX file" if own_onnx else "asked for")
    if engine == "auto" and installed:
        return _fastest(device)
    place, whether = torch_device(device)
    why = "asked for"
    if engine == "auto":
        why = "onnxruntime, which is faster, is not installed" if place == "cpu" else "half precision"
    return Pick("torch", place, f"{why}; {place}: {whether}")


def torch_device(name: str) -> Tuple[str, str]:
    """A device that PyTorch can use, by its name, and why it; with `auto` CUDA, or else the CPU.

    Raises:
        SettingsError: there is no such device here.
    """
    place, whether = _without_asking(name)
    if place is not None:
        return place, whether
    module, reason = torch_engine()
    if module is not None:
        found: Tuple[str, str] = module.cuda_device(name)
        return found
    if name == "auto":
        return "cpu", f"PyTorch {reason}"
    raise SettingsError(f"device {name}: PyTorch {reason}. Or take --device cpu")


@lru_cache(maxsize=None)
def torch_engine() -> Tuple[Any, str]:
    """The module of the engine that is PyTorch; None, and why, where that cannot be imported."""
    try:
        import worker.models.loader  # noqa: F401 - with torchvision, which may be for another PyTorch
        from worker.engines.pytorch import engine as module
    except ModuleNotFoundError as error:
        if error.name == "torch":
            return None, "is not installed"
        return None, f"cannot be imported: {error}"
    except Exception as error:  # noqa: BLE001 - a library that is not there is an OSError, another build anything
        return None, f"cannot be imported: {type(error).__name__}: {cut(first_line(error), 300)}"
    return module, ""


def _fastest(device: str) -> Pick:
    if _without_asking(device)[0] is not None:
        return _onnxruntime(device, "the fastest on a CPU")
    if TENSORRT in providers():
        return _onnxruntime(device, "the fastest on CUDA if TensorRT is there")
    why = "half precision; onnxruntime is not built with TensorRT"
    libraries = cuda_libraries()
    if len(libraries) > 1:  # asked, PyTorch would keep memory of the device from the others
        place = "cuda" if device == "auto" else device
        return Pick("torch", place, f"{why}; {place}: both are built for it")
    if "onnxruntime" in libraries:
        return _onnxruntime(device, "PyTorch is not there, or built without CUDA")
    place, whether = torch_device(device)
    if place != "cpu":
        return Pick("torch", place, f"{why}; {place}: {whether}")
    return Pick("onnxruntime", "cpu", f"the fastest on a CPU; cpu: {whether}")


def _onnxruntime(name: str, why: str) -> Pick:
    place, whether = _without_asking(name)
    if place is None:
        if CUDA in providers():
            place = "cuda" if name == "auto" else name
            whether = "this onnxruntime is built for it" if name == "auto" else "asked for"
        elif name == "auto":
            place, whether = "cpu", "this onnxruntime is built without CUDA"
        else:
            raise SettingsError(
                f"device {name}: this onnxruntime is built without CUDA. Install onnxruntime-gpu, or take "
                "--device cpu (or, of a model by its name, --engine torch)"
            )
    return Pick("onnxruntime", place, f"{why}; {place}: {whether}")


def _openvino(name: str) -> Pick:
    if not has_openvino():
        raise SettingsError(f"openvino is not installed: {how_to_install('openvino')}")
    place, whether = _without_asking(name)
    if place is None and name != "auto":
        raise SettingsError(
            f"device {name}: openvino runs on the CPU here. Take --device cpu, or --engine auto"
        )
    return Pick("openvino", "cpu", f"asked for; cpu: {whether or 'openvino runs on it'}")


def _without_asking(name: str) -> Tuple[Any, str]:
    """The CPU, where no library has to be asked; else None."""
    if name in ("cpu", "cpu:0"):
        return "cpu", "asked for"
    if name == "auto" and (not any(Path(node).exists() for node in _CUDA_NODES) or is_missing("cuda")):
        return "cpu", "no CUDA device"
    return None, ""
