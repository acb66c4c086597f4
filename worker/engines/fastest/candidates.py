"""The candidates: libraries that are installed, each in the precisions that may be tried.

PyTorch is none of them: to import it takes seconds, and to serve with it 300 MB more. Where it would be
faster than ONNX Runtime, on a processor with instructions for half precision, OpenVINO was faster still. It
serves on a CPU where ONNX Runtime is not installed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Dict, List, NamedTuple

from typing_extensions import Literal

from worker.engines.base import EngineName, Precision

#: Distributions by which the libraries come.
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "openvino")


class Candidate(NamedTuple):
    """A library, and what it computes in."""

    engine: Literal["onnxruntime", "openvino"]
    precision: Literal["float32", "float16", "bfloat16", "int8"] = "float32"

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


def candidates(engine: EngineName, precision: Precision) -> List[Candidate]:
    """The candidates, each library's float32 before its others; the first is the one that needs no trial.

    Args:
        engine: `auto`, or the only one that may serve.
        precision: `exact` for float32 alone, `half` for 16 bits as well, `int8` for these and int8.
    """
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


def has_openvino() -> bool:
    """Whether OpenVINO is installed, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def releases() -> Dict[str, str]:
    """The releases of the libraries, without importing them."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
