"""The ONNX Runtime engine: one graph from uint8 pixels to probabilities.

uint8 [N, H, W, 3] -> normalise, model, softmax, all in the graph -> float32 [N, classes]
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple, Union

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from wire.errors import NanofleetError, SettingsError
from wire.printable import first_line, plain
from worker import cores

if TYPE_CHECKING:
    from worker.engines.base import Pick

Provider = Union[str, Tuple[str, Dict[str, Any]]]

#: Batches that a session runs at the same time on a CPU, each with its share of the cores: while one waits
#: for its slowest thread, or for Python, the other goes on. Costs a single frame some of its speed.
CPU_BATCHES = 2


#: Errors of onnxruntime for a file that it can read and not run.
_DAMAGED = {
    *("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NotImplemented"),
    "UnicodeDecodeError",
}


class Damaged(SettingsError):
    """A file is no ONNX model that can be run here."""


class DeviceUnusable(SettingsError):
    """The CUDA libraries that this build of onnxruntime wants are not there."""


def batches_at_once(device: str) -> int:
    """Threads that should run a session at the same time."""
    return CPU_BATCHES if device == "cpu" else 1


def open_session(
    path: Path, device: str, weights_dir: Path, content: Optional[bytes] = None
) -> onnxruntime.InferenceSession:
    """A session for an ONNX file.

    Args:
        path: the file.
        device: `cpu`, `cuda` or `cuda:N`, which the installed build has a provider for.
        weights_dir: where TensorRT keeps the engines that it builds.
        content: what is in the file, if that was read already.

    Raises:
        Damaged: the file is no ONNX model, or a damaged one, or needs operators that are not there.
        DeviceUnusable: onnxruntime would run it on the CPU instead.
        NanofleetError: something else is in the way, such as too little memory.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its warnings are for those who build the graph; its errors it raises
    # Threads that spin while they wait take the decoders' cores.
    if device == "cpu":
        options.intra_op_num_threads = max(1, cores.available() // CPU_BATCHES)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            content or str(path),
            options,
            providers=_providers(device, weights_dir),
            enable_fallback=int(device != "cpu"),  # to the CPU from the CPU, with a line on stdout
        )
    # Its exceptions have no common class but Exception.
    except Exception as error:
        damaged = type(error).__name__ in _DAMAGED and not out_of_memory(error)
        kind = Damaged if damaged else NanofleetError
        raise kind(f"{path}: onnxruntime cannot load it: {_why(error)}") from error
    if device != "cpu" and "CUDAExecutionProvider" not in session.get_providers():
        raise DeviceUnusable(
            f"onnxruntime cannot use device {device}: CUDA and cuDNN must be those that it was built for. "
            "Or take --engine torch or --device cpu"
        )
    return session


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of onnxruntime's, or of Python's, says that there is no more memory."""
    return isinstance(error, MemoryError) or "alloc" in str(error)


def _why(error: Exception) -> str:
    """The reason, and the next step where one is known."""
    text = plain(str(error))
    installed = f"onnxruntime {onnxruntime.__version__}"
    found = re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", text)
    if found:
        return (
            f"its IR version is {found.group(1)}, and {installed} reads them up to {found.group(2)}. Upgrade "
            "onnxruntime (pip install --upgrade onnxruntime), or export it with an older onnx"
        )
    found = re.search(r"Opset (\d+) is under development.*support for domain (\S+) is till opset (\d+)", text)
    if found:
        opset, domain, known = found.groups()
        return (
            f"its opset of {domain} is {opset}, and {installed} runs them up to {known}. Upgrade onnxruntime "
            f"(pip install --upgrade onnxruntime), or export it with opset {known} (as opset_version={known} "
            "in torch.onnx.export)"
        )
    found = re.search(r"Could not find an implementation for ([\w.:]+)", text)
    if found:
        return (
            f"{installed} has no {found.group(1)} for its type of numbers: export it in float32, or upgrade "
            "onnxruntime (pip install --upgrade onnxruntime)"
        )
    found = re.search(r"([\w.]*:?\w+)\(-?\d+\) is not a registered function/op", text)
    found = found or re.search(r"No Op registered for (\S+)", text)
    if found:
        return (
            f"{installed} has no operator {found.group(1)} for it. Upgrade onnxruntime, or export it without "
            "that operator (TensorRT's and other plug-ins' run only there)"
        )
    return first_line(error) or type(error).__name__


def _providers(device: str, weights_dir: Path) -> List[Provider]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    cuda = {"device_id": int(device.partition(":")[2] or 0)}
    providers: List[Provider] = [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]
    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        folder = weights_dir / "nanofleet" / "tensorrt"
        with contextlib.suppress(OSError):  # without the folder they are built at each start
            folder.mkdir(parents=True, exist_ok=True)
        cache = {
            "trt_fp16_enable": True,
            "trt_engine_cache_enable": True,  # building one takes minutes
            "trt_engine_cache_path": str(folder),
        }
        providers.insert(0, ("TensorrtExecutionProvider", {**cuda, **cache}))
    return providers


class OnnxEngine:
    """See `worker.engines.base.Engine`. Runs what `worker.engines.exports.cache` has exported."""

    name = "onnxruntime"

    def __init__(
        self, path: Path, shape: Tuple[int, int, int], pick: Pick, max_batch: int, weights_dir: Path
    ) -> None:
        """Open a session.

        Args:
            path: uint8 [N, H, W, C] -> float32 [N, outputs], probabilities.
            shape: height, width and channels of the pixels.
            pick: the device, and why.
            max_batch: frames in a batch, at most.
            weights_dir: where TensorRT keeps the engines that it builds.

        Raises:
            SettingsError: the file cannot be loaded.
        """
        self.device = pick.device
        self.why = pick.why
        self.at_once = batches_at_once(pick.device)
        self._session = open_session(path, pick.device, weights_dir)
        self._input = self._session.get_inputs()[0].name
        self._shape = shape
        self._max_batch = max_batch

    def warm_up(self) -> None:
        """See Engine."""
        for size in (1, self._max_batch):
            self.infer(np.zeros((size, *self._shape), np.uint8))

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See Engine."""
        (probabilities,) = self._session.run(None, {self._input: batch})
        result: NDArray[np.float32] = probabilities
        return result
