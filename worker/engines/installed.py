"""The libraries that are installed, and what they are built for: without importing any that is large."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import Dict, List

from worker.engines.base import Library

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
#: Distributions by which the libraries come that run models on a CPU; and on CUDA.
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "openvino")
_ON_CUDA = (
    *("torch", "onnxruntime", "onnxruntime-gpu"),
    *("tensorrt", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),  # without which ONNX Runtime cannot use it
)
#: In PyTorch's own `version.py`.
_TORCH_CUDA = re.compile(r"""^cuda\b[^=\n]*=\s*["']\d""", re.MULTILINE)


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


def providers() -> List[str]:
    """What the installed onnxruntime is built for."""
    import onnxruntime

    found: List[str] = onnxruntime.get_available_providers()
    return found


def cuda_libraries() -> List[Library]:
    """Those of PyTorch and ONNX Runtime, which has to be installed, that are built for CUDA."""
    found: List[Library] = ["torch"] if _torch_is_for_cuda() else []
    return [*found, "onnxruntime"] if CUDA in providers() else found


def _torch_is_for_cuda() -> bool:
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    try:
        says = Path(found.origin).with_name("version.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return _TORCH_CUDA.search(says) is not None


def releases(device: str = "cpu") -> Dict[str, str]:
    """The releases of the libraries that may run a model on a device."""
    found = {}
    for name in _DISTRIBUTIONS if device == "cpu" else _ON_CUDA:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError, KeyError):
            # None, or from some Python on a KeyError: what pip has half removed says none.
            found[name] = importlib.metadata.version(name) or "unknown"
    return found
