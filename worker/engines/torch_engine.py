"""The PyTorch engine: half precision on CUDA, float32 with fused layers on the CPU, channels last on both.

uint8 [N, H, W, 3] -> device -> normalised, channels last -> module -> softmax -> float32 [N, classes]
"""

from __future__ import annotations

import copy
from typing import Callable, Dict, Tuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx.experimental.optimization import fuse

from wire.errors import SettingsError
from worker.models.info import Model

#: How a module's outputs become probabilities.
ACTIVATIONS: Dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": lambda logits: logits.softmax(dim=1),
    "sigmoid": torch.sigmoid,
    "none": lambda probabilities: probabilities,
}


class TorchEngine:
    """See `worker.engines.base.Engine`."""

    name = "torch"
    at_once = 1  # its threads take all cores by themselves; on CUDA it has one stream and one staging buffer

    def __init__(self, model: Model, module: torch.nn.Module, device: str, why: str, max_batch: int) -> None:
        """Put a copy of the module on a device.

        Args:
            model: what the module is.
            module: float32 [N, 3, crop, crop] -> logits; left as it is.
            device: `cpu`, `cuda` or `cuda:N`, which is there.
            why: why this engine.
            max_batch: frames in a batch, at most.
        """
        self.device = device
        self.why = why
        self._device = torch.device(device)
        cuda = self._device.type == "cuda"
        self._dtype = torch.float16 if cuda else torch.float32
        self._shape = model.preprocessing.shape
        self._activate = ACTIVATIONS[model.activation]
        self._max_batch = max_batch
        # CUDA copies straight from memory that cannot be paged out, while the CPU goes on.
        staging = (max_batch, *self._shape)
        self._staging = torch.empty(staging, dtype=torch.uint8, pin_memory=True) if cuda else None
        module = copy.deepcopy(module) if cuda else _fused(module)
        self._module = module.to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        scale, shift = (
            torch.tensor(values).view(1, -1, 1, 1) for values in model.preprocessing.normalisation
        )
        self._scale = scale.to(self._device, self._dtype)
        self._shift = shift.to(self._device, self._dtype)

    def warm_up(self) -> None:
        """See Engine."""
        for size in (1, self._max_batch):
            self.infer(np.zeros((size, *self._shape), np.uint8))

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See Engine."""
        # torch warns of memory that it may not write to, such as the bytes a decoder hands over.
        pixels = torch.from_numpy(batch if batch.flags.writeable else batch.copy())
        with torch.inference_mode():
            if self._staging is not None:
                pixels = self._staging[: len(batch)].copy_(pixels)
            # They travel as bytes. NHWC in memory is channels last: permuting moves none of them.
            on_device = pixels.to(self._device, non_blocking=True)
            images = on_device.permute(0, 3, 1, 2).to(self._dtype)
            logits = self._module(torch.addcmul(self._shift, images, self._scale))
            # The one point where the CPU waits for the device.
            probabilities: NDArray[np.float32] = self._activate(logits.float()).cpu().numpy()
        return probabilities


def _fused(module: torch.nn.Module) -> torch.nn.Module:
    """A copy whose convolutions do their batch norms' work, where torch.fx can follow the module."""
    try:
        fused: torch.nn.Module = fuse(module)
    # Tracing fails in as many ways as modules can be written: such a one runs as it is.
    except Exception:  # noqa: BLE001
        return copy.deepcopy(module)
    return fused.eval()


def cuda_device(name: str) -> Tuple[str, str]:
    """A device by its name, and why it; `auto` is CUDA where PyTorch finds it, else the CPU.

    Raises:
        SettingsError: there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda", torch.cuda.get_device_name()
        return "cpu", "PyTorch finds no CUDA device"
    known = "known are auto, cpu, cuda, cuda:N"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"unknown device {name!r}: {known}") from error
    if device.type not in ("cpu", "cuda"):
        raise SettingsError(f"unknown device {name!r}: {known}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(_no_cuda(name))
    return str(device), "asked for"


def _no_cuda(name: str) -> str:
    if torch.version.cuda is None:
        return (
            f"device {name}: torch {torch.__version__} is built without CUDA. Install a build with it "
            "(on a Jetson, the one made for its JetPack), or take --device cpu"
        )
    return (
        f"device {name}: torch {torch.__version__}, built for CUDA {torch.version.cuda}, finds "
        f"{torch.cuda.device_count()} CUDA devices. See whether nvidia-smi lists it and its driver is new "
        "enough for that CUDA (in a container: whether it was given the GPU), or take --device cpu"
    )
