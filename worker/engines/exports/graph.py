"""Exporting a model: a PyTorch module and all that an engine does around it, as one ONNX file."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any, Dict

import numpy as np
import torch

from wire.model_choice import ModelChoice
from worker.engines.pytorch.engine import ACTIVATIONS
from worker.models.info import Model
from worker.models.loader import load_model

log = logging.getLogger(__name__)

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
    log.info("exporting %s for onnxruntime: this happens once", choice.model)
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
        # Without a least, which 2.9 finds at odds with its own: it takes all sizes to be 2 or more, and the
        # graph then serves 1 as well.
        batch = torch.export.Dim("batch")
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
    with torch.inference_mode():
        expected = graph(batch).numpy()
    for size in (1, len(batch)):  # an exporter may take a batch to be 2 or more
        (found,) = session.run(None, {"pixels": batch[:size].numpy()})
        difference = float(np.abs(found - expected[:size]).max())
        # Not "> TOLERANCE", which is false where one of the two is not a number.
        if not difference <= TOLERANCE:
            raise ArithmeticError(f"its probabilities differ from PyTorch's by {difference:g}")
