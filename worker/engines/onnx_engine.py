"""ONNX Runtime: sessions for ONNX files, on a CPU or on CUDA, and its errors in words."""

from __future__ import annotations

import contextlib
import logging
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

import onnxruntime

from wire.errors import NanofleetError
from wire.printable import first_line, plain
from worker.engines.installed import CUDA, TENSORRT, providers
from worker.engines.sessions import Damaged, DeviceUnusable, out_of_memory, threads_of_a_batch

log = logging.getLogger(__name__)

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
    if device != "cpu":
        _load_cuda()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its warnings are for those who build the graph; its errors it raises
    # Threads that spin while they wait take the decoders' cores.
    if device == "cpu":
        options.intra_op_num_threads = threads_of_a_batch()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session, reason = _first_session(
            content or str(path), options, _providers(device, weights_dir, precision)
        )
    # Its exceptions have no common class but Exception.
    except Exception as error:
        damaged = type(error).__name__ in _DAMAGED and not out_of_memory(error)
        kind = Damaged if damaged else NanofleetError
        raise kind(f"{path}: onnxruntime cannot load it: {_why(error)}") from error
    if device != "cpu" and CUDA not in session.get_providers():
        raise DeviceUnusable(
            f"onnxruntime cannot use device {device}: CUDA and cuDNN must be those that it was built for. "
            "Or take --engine torch or --device cpu"
        ) from reason
    return session


def _first_session(
    model: Union[str, bytes], options: onnxruntime.SessionOptions, choices: List[List[Provider]]
) -> Tuple[onnxruntime.InferenceSession, Optional[Exception]]:
    """A session by the first providers that can be had, and what was wrong with the last ones that cannot."""
    reason: Optional[Exception] = None
    for each in choices[:-1]:
        try:
            return _Session(model, options, providers=each), reason
        except (ValueError, RuntimeError) as error:  # what it raises of a file is neither
            reason = error
    return _Session(model, options, providers=choices[-1]), reason


class _Session(onnxruntime.InferenceSession):  # type: ignore[misc]
    """A session by the providers that are asked for, or none.

    ONNX Runtime would go on to others by itself, and say so on stdout, which is the program's. Older releases
    do not know its option not to.
    """

    _enable_fallback = property(lambda self: False, lambda self, enable: None)


@lru_cache(maxsize=None)
def _load_cuda() -> None:
    """Load CUDA's libraries from the packages that pip installs beside PyTorch, if they are there."""
    if hasattr(onnxruntime, "preload_dlls"):  # from 1.21 on
        # What is missing there the system may have; it would be said on stdout.
        vars(onnxruntime)["print"] = lambda *words, **how: log.debug(" ".join(map(str, words)))
        with contextlib.suppress(Exception):
            onnxruntime.preload_dlls()


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


def _providers(device: str, weights_dir: Path, precision: str) -> List[List[Provider]]:
    """What may run a session: the fastest first, and at last what is always there."""
    cpu: List[Provider] = ["CPUExecutionProvider"]
    built_for = providers()
    if device == "cpu" or CUDA not in built_for:
        return [cpu]
    place = {"device_id": int(device.partition(":")[2] or 0)}
    # TF32 is float32 with 10 bits of mantissa instead of 23, which it takes unless told.
    cuda: List[Provider] = [(CUDA, {**place, "use_tf32": int(precision != "float32")}), *cpu]
    if precision == "float32" or TENSORRT not in built_for:  # it takes TF32, and has no option not to
        return [cuda, cpu]
    folder = weights_dir / "nanofleet" / "tensorrt"
    with contextlib.suppress(OSError):  # without the folder they are built at each start
        folder.mkdir(parents=True, exist_ok=True)
    cache = {
        "trt_fp16_enable": True,
        "trt_engine_cache_enable": True,  # building one takes minutes
        "trt_engine_cache_path": str(folder),
    }
    return [[(TENSORRT, {**place, **cache}), *cuda], cuda, cpu]


def runs_by(session: Any, precision: str) -> str:
    """What runs a session on a CUDA device, in a few words."""
    if TENSORRT in session.get_providers():
        return "TensorRT"
    return "CUDA" if precision == "float32" else "CUDA without TensorRT, in float32 or TF32"


def quiet() -> onnxruntime.RunOptions:
    """Options of a run whose errors are raised, and not printed as well."""
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    return options
