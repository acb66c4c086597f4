"""Engines: pixels in, probabilities out.

uint8 [N, H, W, 3] -> device -> normalised, channels last -> module -> softmax -> float32 [N, classes]
"""

from __future__ import annotations

import copy
from typing import List, Literal, Protocol, Tuple

import numpy as np
import torch
from numpy.typing import NDArray

from wire.errors import SettingsError
from worker.models import Model

#: What `open_engine` can be asked for; `auto` is the fastest that is installed for the device.
EngineName = Literal["auto", "torch"]


class Engine(Protocol):
    """Runs a model on batches. One thread at a time."""

    @property
    def name(self) -> str:
        """What runs the model: `torch`."""

    @property
    def device(self) -> str:
        """Where it runs: `cpu`, `cuda`, `cuda:1`."""

    def warm_up(self) -> None:
        """Run the smallest and the largest batch once, so that no frame pays for a first use."""

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify a batch.

        Args:
            batch: uint8 [N, crop, crop, 3], RGB, 1 <= N <= max_batch, not normalised.

        Returns:
            float32 [N, classes], probabilities: each row sums to 1.

        Raises:
            RuntimeError: the device failed, or ran out of memory.
        """


class TorchEngine:
    """Plain torch: half precision on CUDA, float32 on the CPU, channels last on both."""

    name = "torch"

    def __init__(self, model: Model, device: torch.device, max_batch: int) -> None:
        """Put a copy of the model on a device.

        Args:
            model: left as it is.
            device: of type `cpu` or `cuda`.
            max_batch: frames in a batch, at most.
        """
        self.device = str(device)
        self._device = device
        self._dtype = torch.float16 if device.type == "cuda" else torch.float32
        self._crop = model.preprocessing.crop
        self._max_batch = max_batch
        module = copy.deepcopy(model.module)
        self._module = module.to(device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # (x / 255 - mean) / std  =  x * 1/(255 std)  -  mean/std: one multiply-add.
        mean = torch.tensor(model.preprocessing.mean).view(1, 3, 1, 1)
        std = torch.tensor(model.preprocessing.std).view(1, 3, 1, 1)
        self._scale = (1 / (255 * std)).to(device, self._dtype)
        self._shift = (-mean / std).to(device, self._dtype)

    def warm_up(self) -> None:
        """See Engine."""
        for size in (1, self._max_batch):
            self.infer(np.zeros((size, self._crop, self._crop, 3), np.uint8))

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See Engine."""
        # torch warns of memory that it may not write to, such as the bytes a decoder hands over.
        pixels = torch.from_numpy(batch if batch.flags.writeable else batch.copy())
        with torch.inference_mode():
            # They travel as bytes. NHWC in memory is channels last: permuting moves none of them.
            images = pixels.to(self._device).permute(0, 3, 1, 2).to(self._dtype)
            logits = self._module(torch.addcmul(self._shift, images, self._scale))
            probabilities: NDArray[np.float32] = logits.float().softmax(dim=1).cpu().numpy()
        return probabilities


def open_engine(model: Model, *, engine: EngineName, device: str = "auto", max_batch: int) -> Engine:
    """The engine to run a model with.

    Args:
        model: what to run.
        engine: `auto` for the fastest that is installed.
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        max_batch: frames in a batch, at most.

    Raises:
        SettingsError: no such engine or device here.
    """
    if engine not in ("auto", "torch"):
        raise SettingsError(f"unknown engine {engine!r}: known are auto, torch")
    return TorchEngine(model, _torch_device(device), max_batch)


def _torch_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"unknown device {name!r}: known are auto, cpu, cuda, cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise SettingsError(f"unknown device {name!r}: known are auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(_no_cuda(name))
    return device


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


def top_k(probabilities: NDArray[np.float32], k: int) -> List[Tuple[int, float]]:
    """The k most probable classes of float32 [classes], best first: (index, probability).

    All classes, if there are fewer than k; of equal ones, the lower index comes first.
    """
    best = np.argsort(-probabilities, kind="stable")[:k]
    return [(int(index), float(probabilities[index])) for index in best]
