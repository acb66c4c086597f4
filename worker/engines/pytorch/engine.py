"""The PyTorch engine: half precision on CUDA, float32 on the CPU; batch norms folded, channels last on both.

uint8 [N, H, W, 3] -> device -> normalised, channels last -> module -> softmax -> float32 [N, classes]
"""

from __future__ import annotations

import warnings
from typing import Callable, Dict, Optional, Tuple

import numpy as np
import torch
from numpy.typing import NDArray

from wire.errors import SettingsError
from wire.printable import cut, first_line
from worker.engines.pytorch.cuda_slots import Slots
from worker.engines.pytorch.folding import folded
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

    def __init__(
        self,
        model: Model,
        module: torch.nn.Module,
        device: str,
        why: str,
        max_batch: int,
        *,
        exact: bool = False,
    ) -> None:
        """Put a copy of the module on a device.

        Args:
            model: what the module is.
            module: float32 [N, 3, crop, crop] -> logits; left as it is.
            device: `cpu`, `cuda` or `cuda:N`, which is there.
            why: why this engine.
            max_batch: frames in a batch, at most.
            exact: compute in float32 on CUDA, too.
        """
        self.device = device
        self.why = why
        self.at_once = 1  # on a CPU its threads take all cores by themselves
        self._device = torch.device(device)
        self._dtype = torch.float16 if self._device.type == "cuda" and not exact else torch.float32
        if exact:  # TF32, which PyTorch takes unless told, is float32 with 10 bits of mantissa instead of 23
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self._shape = model.preprocessing.shape
        self._activate = ACTIVATIONS[model.activation]
        self._max_batch = max_batch
        self._module = folded(module).to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        scale, shift = (
            torch.tensor(values).view(1, -1, 1, 1) for values in model.preprocessing.normalisation
        )
        self._scale = scale.to(self._device, self._dtype)
        self._shift = shift.to(self._device, self._dtype)
        self._slots: Optional[Slots] = None
        if self._device.type == "cuda":
            with torch.cuda.device(self._device):
                self._slots = Slots(self._forward, self._shape, max_batch, self._device)
            self.at_once = self._slots.count
            self.why += f"; no CUDA graphs: {self._slots.without}" if self._slots.without else "; CUDA graphs"

    def warm_up(self) -> None:
        """See Engine."""
        for size in (1, self._max_batch):
            self.infer(np.zeros((size, *self._shape), np.uint8))

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See Engine."""
        if self._slots is not None:
            return self._slots.infer(batch)
        # torch warns of memory that it may not write to, such as the bytes a decoder hands over.
        pixels = torch.from_numpy(batch if batch.flags.writeable else batch.copy())
        with torch.inference_mode():
            probabilities: NDArray[np.float32] = self._forward(pixels).numpy()
        return probabilities

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Probabilities of a batch.

        Args:
            pixels: uint8 [N, H, W, C], on the device.
        """
        # They travelled as bytes. NHWC in memory is channels last: permuting moves none of them.
        images = pixels.permute(0, 3, 1, 2).to(self._dtype)
        logits: torch.Tensor = self._module(torch.addcmul(self._shift, images, self._scale))
        return self._activate(logits.float())


def cuda_device(name: str) -> Tuple[str, str]:
    """`cuda`, `cuda:N` or `auto`, and why it; `auto` is CUDA where PyTorch can use it, else the CPU.

    Raises:
        SettingsError: there is no such device here.
    """
    if name == "auto":
        return _cuda_or_cpu()
    if (torch.device(name).index or 0) >= torch.cuda.device_count():
        raise SettingsError(_no_cuda(name))
    return name, "asked for"


def _cuda_or_cpu() -> Tuple[str, str]:
    with warnings.catch_warnings(record=True) as remarks:  # of a driver that is too old, say
        warnings.simplefilter("always")
        if not torch.cuda.is_available():
            said = [f": {cut(first_line(remark.message), 300)}" for remark in remarks]
            return "cpu", "PyTorch finds no CUDA device" + "".join(said[:1])
    try:
        torch.ones(1, device="cuda").sum().item()
        return "cuda", torch.cuda.get_device_name()
    # A build that is not for this card, a driver that is not for this build.
    except (RuntimeError, AssertionError) as error:
        return "cpu", f"PyTorch finds CUDA and cannot use it: {cut(first_line(error), 300)}"


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
