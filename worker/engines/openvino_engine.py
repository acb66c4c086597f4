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
from worker.engines.openvino_graph import cut, forms
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


class _Compiled:
    """A compiled graph, with memory for each of the batches that run at once."""

    def __init__(self, model: Any, precision: str) -> None:
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
            "NUM_STREAMS": CPU_BATCHES,
            "INFERENCE_NUM_THREADS": CPU_BATCHES * threads_of_a_batch(),
            "ENABLE_CPU_PINNING": False,  # decoders want the same cores
        }
        compiled = _core().compile_model(model, "CPU", settings)
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(CPU_BATCHES):
            self._requests.put(compiled.create_infer_request())
        self._outputs = range(len(compiled.outputs))

    def run(self, arrays: List[Any]) -> List[Any]:
        """All outputs for the inputs."""
        request = self._requests.get()
        try:
            # The batch is read where it lies; the answers are copied, because the next batch overwrites them.
            results = request.infer(arrays, share_inputs=True, share_outputs=False)
        finally:
            self._requests.put(request)
        return [results[number] for number in self._outputs]


class OpenvinoSession:
    """See `worker.engines.sessions.Session`."""

    def __init__(self, model: Any, forms: Dict[int, Any], last: Optional[Any], precision: str) -> None:
        """Compile a graph.

        Args:
            model: the graph, or all but its last layer.
            forms: it again, for batches of one size each; none, and it is compiled for any size.
            last: the last layer, which computes in float32, if it is by itself.
            precision: what the graph computes in.
        """
        self._inputs = [_port(each) for each in model.inputs]
        self._outputs = [_port(each) for each in (last or model).outputs]
        self._sizes = {size: _Compiled(form, precision) for size, form in forms.items()}
        self._any = None if forms else _Compiled(model, precision)
        self._last = last and _Compiled(last, "float32")

    def get_inputs(self) -> List[Port]:
        """See Session."""
        return self._inputs

    def get_outputs(self) -> List[Port]:
        """See Session."""
        return self._outputs

    def run(self, names: None, feed: Dict[str, Any], options: Any = None) -> List[Any]:
        """See Session."""
        arrays = [feed[each.name] for each in self._inputs]
        found = self._any.run(arrays) if self._any else self._in_parts(arrays[0])
        return self._last.run(found) if self._last else found

    def cold(self, most: int) -> List[int]:
        """The batches of up to so many images that take longer when they run for the first time.

        A graph of known sizes runs no others than those; one of open sizes is compiled for each, in 20 to 30
        ms.
        """
        return [size for size in self._sizes if size <= most] or list(range(1, most + 1))

    def _in_parts(self, images: Any) -> List[Any]:
        parts, start = [], 0
        while start < len(images):
            size = max(size for size in self._sizes if size <= len(images) - start)
            parts.append(self._sizes[size].run([images[start : start + size]]))
            start += size
        return parts[0] if len(parts) == 1 else [np.concatenate(each) for each in zip(*parts)]


def open_session(path: Path, precision: str, content: Optional[bytes], most: int) -> OpenvinoSession:
    """A session for an ONNX file.

    Args:
        path: the file.
        precision: one of PRECISIONS.
        content: what is in the file, if that was read already.
        most: images of the largest batch.

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
    try:
        model, last = core.read_model(content or str(path)), None
        if precision in ("float16", "bfloat16"):
            model, last = cut(model)
        return OpenvinoSession(model, forms(model, most), last, precision)
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
