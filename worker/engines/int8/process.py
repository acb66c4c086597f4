"""The main of the process that quantises an export; see `worker.engines.int8.graph`, its user.

python -m worker.engines.int8.process INT8 TARGET LOG_LEVEL FOLDER
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from numpy.typing import NDArray

from wire.errors import NanofleetError
from wire.printable import first_line
from worker.engines.child_process import answer
from worker.engines.int8.graph import Int8
from worker.engines.sessions import out_of_memory

#: Operators that compute in int8, and those between them, where numbers would else become floats and 8 bits
#: again. Sigmoids and softmaxes stay as they are: small numbers are what confidences are.
OPERATORS = (
    *("Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "Concat"),
    *("MaxPool", "AveragePool", "GlobalAveragePool"),
)
#: Operators that have weights.
_WEIGHTED = ("Conv", "Gemm", "MatMul")
#: Pictures to run at once.
_TOGETHER = 4


def main(arguments: Sequence[str]) -> None:
    """Quantise one export."""
    int8, target, level, folder = arguments
    wanted = Int8.model_validate_json(int8)
    answer(folder, level, lambda: _quantise(wanted, Path(target)))


def _quantise(wanted: Int8, target: Path) -> Dict[str, Any]:
    try:
        pictures = wanted.pictures()
        logging.disable(logging.CRITICAL)  # onnxruntime logs its steps, and advice
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks for those who write such a program
            _write(wanted.export, target, pictures)
    except NanofleetError:
        raise
    except Exception as error:  # noqa: BLE001 - onnxruntime's tool raises anything
        if out_of_memory(error):
            return {"kind": "memory", "error": "there is too little memory"}
        # A library that is not there may be installed by the next time.
        kind = "other" if isinstance(error, (OSError, ImportError)) else "library"
        return {"kind": kind, "error": f"{type(error).__name__}: {first_line(error)}"}
    return {"made": True}


def _write(export: Path, target: Path, pictures: NDArray[np.uint8]) -> None:
    """Write the graph: weights of each channel in int8, and in uint8 the numbers that layers hand on."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Batch norms become part of the layers before them; without the symbolic inference, which is for graphs
    # that have no shapes.
    prepared = target.with_name("prepared.onnx")
    quant_pre_process(str(export), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(str(prepared))
    graph = model.graph
    for number, node in enumerate(graph.node):  # a node without a name cannot be left out
        node.name = f"{number}{node.name}"
    onnx.save(model, str(prepared))

    pixels = graph.input[0].name
    starts = range(0, len(pictures), _TOGETHER)
    feeds = ({pixels: pictures[start : start + _TOGETHER]} for start in starts)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Feeds the pictures."""

        def get_next(self) -> Optional[Dict[str, NDArray[np.uint8]]]:
            return next(feeds, None)

    quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=[*OPERATORS, "Softmax"],  # whose range 1.19 wants, even of one that it leaves
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=_exact(graph.node),
    )


def _exact(nodes: Sequence[Any]) -> List[str]:
    """The names of nodes to leave in float32: those up to the first layer, and the softmax.

    Normalised pixels differ by less than their 8 bits could tell: with the first layer in int8, 2% more of
    efficientnet_lite0's labels were others, and it was a fifth slower.
    """
    first = next((number for number, node in enumerate(nodes) if node.op_type in _WEIGHTED), -1)
    return [node.name for number, node in enumerate(nodes) if number <= first or node.op_type == "Softmax"]


if __name__ == "__main__":
    main(sys.argv[1:])
