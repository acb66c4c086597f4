"""The candidates: libraries that are installed for a device, each in the precisions that may be tried.

CPU   ONNX Runtime, OpenVINO     in float32, then in 16 bits and int8, where those may be tried
CUDA  PyTorch, ONNX Runtime      in float32 without TF32, then as half precision has it

On a CPU, PyTorch is none of them: to import it takes seconds, and to serve with it 300 MB more. Where it
would be faster than ONNX Runtime, on a processor with instructions for half precision, OpenVINO was faster
still. It serves on a CPU where ONNX Runtime is not installed.
"""

from __future__ import annotations

from typing import List, NamedTuple

from worker.engines.base import EngineName, Library, Numbers, Precision
from worker.engines.installed import cuda_libraries, has_openvino


class Candidate(NamedTuple):
    """A library, and what it computes in."""

    engine: Library
    precision: Numbers = "float32"

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


def candidates(engine: EngineName, precision: Precision, device: str = "cpu") -> List[Candidate]:
    """The candidates, each library's float32 before its others.

    Args:
        engine: `auto`, or the only one that may serve.
        precision: `exact` for float32 alone, `half` for 16 bits as well, `int8` for these and int8.
        device: `cpu`, where the first needs no trial; or a CUDA device, where one library alone needs none.
    """
    if device != "cpu":
        return _on_cuda(precision) if engine == "auto" and len(cuda_libraries()) > 1 else []
    found: List[Candidate] = []
    if engine in ("auto", "onnxruntime"):
        found.append(Candidate("onnxruntime"))
    if engine in ("auto", "openvino") and has_openvino():
        found.append(Candidate("openvino"))
        if precision != "exact":
            found += [Candidate("openvino", "float16"), Candidate("openvino", "bfloat16")]
    if precision == "int8":
        found += [Candidate(each.engine, "int8") for each in found if each.precision == "float32"]
    return found


def _on_cuda(precision: Precision) -> List[Candidate]:
    numbers: List[Numbers] = ["float32"] if precision == "exact" else ["float32", "float16"]
    return [Candidate(library, each) for library in cuda_libraries() for each in numbers]
