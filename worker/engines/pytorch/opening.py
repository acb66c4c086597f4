"""Opens a model with PyTorch, which is imported for it."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

from wire.errors import NanofleetError
from wire.model_choice import ModelChoice
from wire.printable import cut, first_line
from worker.engines.base import Engine, Pick
from worker.engines.picking import torch_engine
from worker.engines.sessions import DeviceUnusable, out_of_memory
from worker.engines.without_torch import NeedsTorch
from worker.models.info import Model


def open_torch(choice: ModelChoice, pick: Pick, max_batch: int, weights_dir: Path) -> Tuple[Model, Engine]:
    """Load a model, and put it on the device.

    Args:
        choice: which; a NAME, NAME@WEIGHTS or NAME@FILE.
        pick: the device, and the precision on CUDA.
        max_batch: frames in a batch, at most.
        weights_dir: where weights are kept.

    Raises:
        NeedsTorch: there is no PyTorch, or it cannot be imported.
        DeviceUnusable: the device is not there, or PyTorch is not for it.
        NanofleetError: the model cannot be loaded, or the device has too little memory.
    """
    engine, reason = torch_engine()
    if engine is None:
        raise NeedsTorch(choice, f"{choice.model}: PyTorch, which is to run it, {reason}")
    from worker.models.loader import load_model

    model, module = load_model(choice, weights_dir)
    exact = pick.precision == "float32"
    try:
        return model, engine.TorchEngine(model, module, pick.device, pick.why, max_batch, exact=exact)
    # A build that is not for this card, a driver that is not for this build, a card that is in use.
    except (RuntimeError, AssertionError) as error:
        kind = NanofleetError if out_of_memory(error) else DeviceUnusable
        raise kind(f"PyTorch cannot use device {pick.device}: {cut(first_line(error), 300)}") from error
