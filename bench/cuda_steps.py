"""The steps that `bench.cuda` times, as its tables name them: each is prepared, then called many times."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import queue
from typing import Callable, ContextManager, Iterator, List, NamedTuple, Union

import numpy as np
import torch

from bench.drive import ANSWER_TIMEOUT
from bench.drivers.forward import forwards
from bench.photos import jpegs
from bench.weights import Weights
from worker.decode.image import decode
from worker.decode.pool import DecoderPool, Pixels
from worker.decode.preprocessing import Preprocessing
from worker.engines.base import top_k
from worker.engines.pytorch.engine import TorchEngine
from worker.engines.pytorch.folding import folded
from worker.errors import FrameError
from worker.models.loader import load_model

Call = Callable[[], object]
#: Pixels on the device -> probabilities there.
Forward = Callable[[torch.Tensor], torch.Tensor]
#: Candidates in an answer.
TOP = 5
#: Images that nvJPEG is given at once.
AT_ONCE = 16
#: As torchvision's newer weights want it.
RECIPE = Preprocessing(resize=232, crop=224)


class Step(NamedTuple):
    """One step, alone."""

    name: str
    #: That a call is for.
    images: int
    prepared: Callable[[], ContextManager[Call]]


class _Loaded:
    """A model, a batch of pixels for it, and answers as it gives them."""

    def __init__(self, weights: Weights, batch: int, device: str) -> None:
        self.model, self.module = load_model(weights.choice, weights.folder)
        shape = (batch, *self.model.preprocessing.shape)
        self.pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        self.answers = torch.rand(batch, len(self.model.classes), device=device).softmax(1)


def of_batch(weights: Weights, batch: int, device: str = "cuda") -> Iterator[Step]:
    """Steps from a batch's pixels to its answers. On `cpu` only those run that are no device's own."""
    loaded = functools.lru_cache(maxsize=None)(lambda: _Loaded(weights, batch, device))

    def step(name: str, images: int, prepare: Callable[[_Loaded], Call]) -> Step:
        return _step(name, images, lambda: prepare(loaded()))

    def pinned(the: _Loaded) -> Call:
        source = torch.from_numpy(the.pixels).pin_memory()
        return lambda: source.to(device, non_blocking=True)

    def top_k_on_the_host(the: _Loaded) -> Call:
        rows = the.answers.cpu().numpy()
        return lambda: [top_k(row, TOP) for row in rows]

    def engine(the: _Loaded, by_its_threads: bool) -> Call:
        runner = TorchEngine(the.model, the.module, device, "", batch)
        if not by_its_threads:
            return lambda: runner.infer(the.pixels)
        return lambda: forwards(runner, the.pixels, frames=40 * batch)

    yield step("images into a batch", batch, lambda the: lambda: np.stack(list(the.pixels)))
    yield step("to the device, pageable", batch, lambda the: lambda: torch.from_numpy(the.pixels).to(device))
    yield step("to the device, pinned", batch, pinned)
    yield from _of_forward(loaded, batch, device)
    yield step("probabilities to the host", batch, lambda the: the.answers.cpu)
    there = f"top {TOP} there, to the host"
    yield step(there, batch, lambda the: lambda: torch.cat(the.answers.topk(TOP), 1).cpu())
    yield step(f"top {TOP} on the host", batch, top_k_on_the_host)
    yield step("engine, one thread", batch, lambda the: engine(the, False))
    yield step("engine, its threads", 40 * batch, lambda the: engine(the, True))


def _step(name: str, images: int, prepare: Callable[[], Call]) -> Step:
    return Step(name, images, lambda: contextlib.nullcontext(prepare()))


def _of_forward(loaded: Callable[[], _Loaded], batch: int, device: str) -> Iterator[Step]:
    """Steps from pixels on a device to probabilities there."""

    def eager(
        dtype: torch.dtype,
        memory: torch.memory_format,
        change: Callable[[torch.nn.Module], torch.nn.Module] = lambda module: module,
    ) -> Call:
        the = loaded()
        pixels = torch.from_numpy(the.pixels).to(device)
        recipe, there = the.model.preprocessing, torch.device(device)
        forward = forward_of(change(the.module), recipe, dtype, memory, there)

        @torch.inference_mode()
        def call() -> object:
            return forward(pixels)

        return call

    def half() -> Call:
        return eager(torch.float16, torch.channels_last, folded)

    def graph() -> Call:
        forward = half()
        with torch.cuda.stream(torch.cuda.Stream()):
            forward()
        torch.cuda.synchronize()
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            forward()
        # A graph does not keep the weights that it reads.
        return lambda held=forward: captured.replay()  # type: ignore[misc]

    yield _step("forward, float32", batch, lambda: eager(torch.float32, torch.contiguous_format))
    yield _step("forward, half", batch, lambda: eager(torch.float16, torch.channels_last))
    yield _step("forward, norms folded", batch, half)
    yield _step("forward, norms folded, in a graph", batch, graph)


def forward_of(
    module: torch.nn.Module,
    recipe: Preprocessing,
    dtype: torch.dtype,
    memory: torch.memory_format,
    device: torch.device,
) -> Forward:
    """The module there, between pixels and probabilities."""
    placed = copy.deepcopy(module).to(device, dtype, memory_format=memory)  # type: ignore[call-overload]
    scale, shift = (
        torch.tensor(values, device=device, dtype=dtype).view(1, -1, 1, 1) for values in recipe.normalisation
    )

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        images = pixels.permute(0, 3, 1, 2).to(dtype, memory_format=memory)
        probabilities: torch.Tensor = placed(torch.addcmul(shift, images, scale)).float().softmax(1)
        return probabilities

    return forward


def of_decoding(size: str) -> Iterator[Step]:
    """Steps from a JPEG to a model's pixels."""
    from torchvision.io import decode_jpeg
    from torchvision.transforms.v2 import functional

    photos = jpegs(size)
    raw = [torch.frombuffer(bytearray(photo), dtype=torch.uint8) for photo in photos]
    many = [raw[number % len(raw)] for number in range(AT_ONCE)]

    def fitted() -> torch.Tensor:
        images = decode_jpeg(many, device="cuda")
        resized = [functional.resize(image, [RECIPE.resize], antialias=True) for image in images]
        return torch.stack([functional.center_crop(image, [RECIPE.crop]) for image in resized])

    cores = len(os.sched_getaffinity(0))
    yield _step(
        "Pillow, one thread", len(photos), lambda: lambda: [decode(photo, RECIPE) for photo in photos]
    )
    yield Step(f"decoder processes, {cores}", 20 * cores, lambda: _processes(photos, cores))
    yield _step(
        "nvJPEG, one by one", len(raw), lambda: lambda: [decode_jpeg(each, device="cuda") for each in raw]
    )
    yield _step(f"nvJPEG, {AT_ONCE} at once", AT_ONCE, lambda: lambda: decode_jpeg(many, device="cuda"))
    # A picture of which a part is missing shows only so: it then differs from itself.
    twice = f"nvJPEG, {AT_ONCE} at once, each twice"
    yield _step(twice, AT_ONCE, lambda: lambda: decode_jpeg([*many, *many], device="cuda"))
    yield _step(f"nvJPEG, {AT_ONCE} at once, resized there", AT_ONCE, lambda: fitted)


@contextlib.contextmanager
def _processes(photos: List[bytes], cores: int) -> Iterator[Call]:
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    def decoded(number: int, outcome: Union[Pixels, FrameError]) -> None:
        assert isinstance(outcome, Pixels), outcome
        outcome.release()
        done.put(number)

    def call() -> None:
        for number in range(20 * cores):
            pool.submit(number, photos[number % len(photos)])
        for _ in range(20 * cores):
            done.get(timeout=ANSWER_TIMEOUT)

    with DecoderPool(
        RECIPE,
        processes=cores,
        slots=2 * cores,
        on_done=decoded,
        on_failure=lambda error: os._exit(1),
    ) as pool:
        yield call
