"""The main of the process that exports a model; see `worker.engines.export_cache`.

    python -m worker.engines.export_process CHOICE WEIGHTS_DIR TARGET LOG_LEVEL FOLDER

FOLDER is where its user is: what is said of a file goes by names from there.

It answers with one JSON object on stdout: the model, or the error and its kind.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any, Dict, Sequence

import numpy as np
import torch

from wire.choice import ModelChoice
from wire.errors import NanofleetError, SettingsError
from worker.engines.torch_engine import ACTIVATIONS
from worker.models.info import Model
from worker.models.loader import load_model

#: Probabilities of an export and of PyTorch may differ by this: it computes in another order.
TOLERANCE = 1e-3
_RELEASE = tuple(int(part) for part in torch.__version__.split(".")[:2])
#: From here on the exporter that goes by TorchScript is deprecated.
_DYNAMO = (2, 9)


class Graph(torch.nn.Module):
    """All that an engine does to a batch: uint8 [N, H, W, C] -> float32 [N, outputs]."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, model: Model, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module
        self.activate = ACTIVATIONS[model.activation]
        for name, values in zip(("scale", "shift"), model.preprocessing.normalisation):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        images = pixels.permute(0, 3, 1, 2).float() * self.scale + self.shift
        return self.activate(self.module(images))


def export(choice: ModelChoice, weights_dir: Path, target: Path) -> Model:
    """Load a model, write it as ONNX, and see that both say the same.

    Raises:
        NanofleetError: it cannot be loaded.
        Exception: it cannot be exported, in any of the ways in which PyTorch says so.
    """
    model, module = load_model(choice, weights_dir)
    graph = Graph(model, module).eval()
    shape = model.preprocessing.shape
    generator = torch.Generator().manual_seed(0)
    example = torch.randint(0, 256, (2, *shape), generator=generator).to(torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks for those who wrote the module
        _write(graph, example, target)
    _compare(graph, target, torch.cat([example, example.flip(2)[:1]]))
    return model


def _write(graph: Graph, example: torch.Tensor, target: Path) -> None:
    names: Dict[str, Any] = {"input_names": ["pixels"], "output_names": ["probabilities"]}
    if _RELEASE >= _DYNAMO:
        batch = torch.export.Dim("batch", min=1, max=256)
        torch.onnx.export(
            graph,
            (example,),
            str(target),
            dynamo=True,
            verbose=False,
            external_data=False,
            dynamic_shapes={"pixels": {0: batch}},
            **names,
        )
    else:
        axes = {"pixels": {0: "batch"}, "probabilities": {0: "batch"}}
        torch.onnx.export(graph, (example,), str(target), opset_version=16, dynamic_axes=axes, **names)


def _compare(graph: Graph, target: Path, batch: torch.Tensor) -> None:
    from worker.engines.onnx_engine import open_session

    session = open_session(target, "cpu", target.parent)
    (found,) = session.run(None, {"pixels": batch.numpy()})
    with torch.inference_mode():
        expected = graph(batch).numpy()
    difference = float(np.abs(found - expected).max())
    # Not "> TOLERANCE", which is false where one of the two is not a number.
    if not difference <= TOLERANCE:
        raise ArithmeticError(f"its probabilities differ from PyTorch's by {difference:g}")


def main(arguments: Sequence[str]) -> None:
    """Export one model."""
    choice, weights_dir, target, level, folder = arguments
    os.chdir(folder)  # its modules were found from where it was started
    # What PyTorch prints must not end up in the answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.nice(10)  # a worker may be serving meanwhile
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(message)s")
    # The exporter and what it is built on tell every step.
    for name in ("torch", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    reply: Dict[str, Any]
    try:
        model = export(ModelChoice.model_validate_json(choice), Path(weights_dir), Path(target))
        reply = {"model": model.model_dump(mode="json")}
    except NanofleetError as error:
        kind = "settings" if isinstance(error, SettingsError) else "other"
        reply = {"kind": kind, "error": str(error)}
    except Exception as error:  # noqa: BLE001 - PyTorch names no errors that its exporter raises
        lines = str(error).strip().splitlines() or [""]
        reply = {"kind": "export", "error": f"it cannot be exported: {type(error).__name__}: {lines[0]}"}
    with answer:
        json.dump(reply, answer)


if __name__ == "__main__":
    main(sys.argv[1:])
