"""OpenVINO: ONNX graphs on a CPU, also in the half precision that some processors have instructions for."""

from __future__ import annotations

import queue
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np

from wire.errors import NanofleetError
from wire.printable import plain
from worker.engines.sessions import CPU_BATCHES, Damaged, out_of_memory, threads_of_a_batch

#: Its own names of precisions. A graph in int8 says itself what is in int8; the rest of it is in float32.
PRECISIONS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "int8": "f32"}
#: In the list of what a processor can do.
_CAPABILITIES = {"float32": "FP32", "float16": "FP16", "bfloat16": "BF16", "int8": "INT8"}
#: ONNX Runtime's names of types, by OpenVINO's.
_TYPES = {
    **{"f16": "tensor(float16)", "f32": "tensor(float)", "f64": "tensor(double)"},
    **{
        f"{sign}{bits}": f"tensor({name}{bits})"
        for sign, name in (("i", "int"), ("u", "uint"))
        for bits in (8, 16, 32, 64)
    },
}
_PLACE = re.compile(r"Exception from |Check '|FrontEnd API failed|While validating")


class NoInstructions(NanofleetError):
    """This processor cannot compute in a precision."""


class Port(NamedTuple):
    """An input or an output."""

    name: str
    type: str
    shape: List[Optional[int]]


class OpenvinoSession:
    """See `worker.engines.sessions.Session`."""

    def __init__(self, compiled: Any) -> None:
        """Wrap a compiled model."""
        self._compiled = compiled
        self._inputs = [_port(each) for each in compiled.inputs]
        self._outputs = [_port(each) for each in compiled.outputs]
        # Each request has memory for one batch.
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(CPU_BATCHES):
            self._requests.put(compiled.create_infer_request())

    def get_inputs(self) -> List[Port]:
        """See Session."""
        return self._inputs

    def get_outputs(self) -> List[Port]:
        """See Session."""
        return self._outputs

    def run(self, names: None, feed: Dict[str, Any], options: Any = None) -> List[Any]:
        """See Session."""
        images = [feed[each.name] for each in self._inputs]
        request = self._requests.get()
        try:
            # The batch is read where it lies; the answers are copied, because the next batch overwrites them.
            results = request.infer(images, share_inputs=True, share_outputs=False)
        finally:
            self._requests.put(request)
        return [results[number] for number in range(len(self._outputs))]


def open_session(path: Path, precision: str, content: Optional[bytes] = None) -> OpenvinoSession:
    """A session for an ONNX file.

    Args:
        path: the file.
        precision: one of PRECISIONS.
        content: what is in the file, if that was read already.

    Raises:
        Damaged: the file is no ONNX model, or a damaged one, or needs operators that are not there.
        NoInstructions: this processor cannot compute in this precision.
        NanofleetError: OpenVINO does not start here.
    """
    core = _core()
    if _CAPABILITIES[precision] not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise NoInstructions(
            f"{path}: openvino cannot run it: this processor does not compute in {precision}"
        )
    settings = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "NUM_STREAMS": CPU_BATCHES,
        "INFERENCE_NUM_THREADS": CPU_BATCHES * threads_of_a_batch(),
        "ENABLE_CPU_PINNING": False,  # decoders want the same cores
    }
    try:
        model = core.read_model(content or str(path))
        return OpenvinoSession(core.compile_model(model, "CPU", settings))
    except Exception as error:  # it has no exceptions of its own
        kind = NanofleetError if out_of_memory(error) else Damaged
        raise kind(f"{path}: openvino cannot load it: {_why(error)}") from error


@lru_cache(maxsize=None)
def _core() -> Any:
    """Its library, once a process.

    Raises:
        NanofleetError: it cannot be imported.
    """
    # Its package reports each import to its maker, and leaves files in the home, unless what does that is not
    # there. A fleet talks to its broker, and to nobody else.
    for name in ("openvino.tools.ovc", "openvino_telemetry"):
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import openvino

        # Two threads that hand it arrays, when none has before, may wait for each other for ever: one has
        # Python's lock, the other that of the set-up of its bridge to NumPy (2026.4).
        np.asarray(openvino.Tensor(np.zeros(1, np.uint8)).data)
        return openvino.Core()
    except Exception as error:  # a library that is not there is an OSError, another build anything
        raise NanofleetError(f"openvino cannot be imported: {type(error).__name__}: {_why(error)}") from error


def _port(port: Any) -> Port:
    shape = [each.get_length() if each.is_static else None for each in port.get_partial_shape()]
    name = port.get_element_type().get_type_name()
    return Port(port.get_any_name(), _TYPES.get(name, name), shape)


def _why(error: Exception) -> str:
    """The first line that says what is wrong, and not where in OpenVINO's source that was found."""
    lines = [line.strip() for line in plain(str(error)).splitlines()]
    return next((line for line in lines if line and not _PLACE.match(line)), type(error).__name__)
