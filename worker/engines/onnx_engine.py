"""ONNX Runtime: sessions for ONNX files, on a CPU or on CUDA, and its errors in words."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

import onnxruntime

from wire.errors import NanofleetError
from wire.printable import first_line, plain
from worker.engines.sessions import Damaged, DeviceUnusable, out_of_memory, threads_of_a_batch

Provider = Union[str, Tuple[str, Dict[str, Any]]]

#: Errors of onnxruntime for a file that it can read and not run.
_DAMAGED = {
    *("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NotImplemented"),
    "UnicodeDecodeError",
}


def open_session(
    path: Path,
    device: str,
    weights_dir: Path,
    content: Optional[bytes] = None,
    *,
    precision: str = "float32",
) -> onnxruntime.InferenceSession:
    """A session for an ONNX file.

    Args:
        path: the file.
        device: `cpu`, `cuda` or `cuda:N`, which the installed build has a provider for.
        weights_dir: where TensorRT keeps the engines that it builds.
        content: what is in the file, if that was read already.
        precision: what TensorRT computes in; the others compute in the file's own.

    Raises:
        Damaged: the file is no ONNX model, or a damaged one, or needs operators that are not there.
        DeviceUnusable: onnxruntime would run it on the CPU instead.
        NanofleetError: something else is in the way, such as too little memory.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its warnings are for those who build the graph; its errors it raises
    # Threads that spin while they wait take the decoders' cores.
    if device == "cpu":
        options.intra_op_num_threads = threads_of_a_batch()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            content or str(path),
            options,
            providers=_providers(device, weights_dir, precision),
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


def _providers(device: str, weights_dir: Path, precision: str) -> List[Provider]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    place = {"device_id": int(device.partition(":")[2] or 0)}
    # TF32 is float32 with 10 bits of mantissa instead of 23, which it takes unless told.
    cuda = {**place, "use_tf32": int(precision != "float32")}
    providers: List[Provider] = [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]
    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        folder = weights_dir / "nanofleet" / "tensorrt"
        with contextlib.suppress(OSError):  # without the folder they are built at each start
            folder.mkdir(parents=True, exist_ok=True)
        cache = {
            "trt_fp16_enable": precision == "float16",
            "trt_engine_cache_enable": True,  # building one takes minutes
            "trt_engine_cache_path": str(folder),
        }
        providers.insert(0, ("TensorrtExecutionProvider", {**place, **cache}))
    return providers


def quiet() -> onnxruntime.RunOptions:
    """Options of a run whose errors are raised, and not printed as well."""
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    return options
