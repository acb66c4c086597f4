"""What each step takes on a CUDA device, alone: pixels to answers, JPEGs to pixels, and a whole worker.

pixels ──> pinned ──> device ──> normalise, module, softmax ──> top 5 ──> host
JPEG ────> pixels, in processes or by nvJPEG on the device
frames ──> worker ──> answers
"""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Sequence

from bench.drive import Order
from bench.measure import FPS, Notify, Row, frames_for, measure_for
from bench.settings import BenchSettings
from bench.site import started
from bench.ways import fleet
from bench.weights import find_weights
from wire.errors import NanofleetError

if TYPE_CHECKING:
    from bench.cuda_steps import Step

BATCHES = (1, 8, 32)


def cuda(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure each step with each model and batch size, decoding by size, and the first model's worker.

    Raises:
        NanofleetError: there is no CUDA device.
    """
    import torch

    if not torch.cuda.is_available():
        raise NanofleetError("cuda: PyTorch finds no CUDA device here")
    from bench.cuda_steps import of_batch, of_decoding

    common = {"experiment": "cuda", "device": torch.cuda.get_device_name()}
    for model in settings.models:
        for batch in BATCHES:
            about = {**common, "model": model, "images": batch}
            yield from _steps(settings, notify, of_batch(find_weights(model), batch), about)
    for size in settings.sizes:
        yield from _steps(settings, notify, of_decoding(size), {**common, "size": size})
    yield from _worker(settings, notify, {**common, "model": settings.models[0]})


def _steps(settings: BenchSettings, notify: Notify, steps: Iterator[Step], about: Row) -> Iterator[Row]:
    for step in steps:
        if not settings.chosen_step(step.name):
            continue
        notify(f"cuda: {', '.join(str(value) for value in [*about.values()][2:])}, {step.name}")
        row = {**about, "step": step.name}
        try:
            with step.prepared() as call:
                yield {**row, FPS: step.images / seconds(call, settings)}
        except RuntimeError as error:  # PyTorch's, of a build or a device that cannot do this
            yield {**row, "error": str(error).partition("\n")[0]}


def seconds(call: Callable[[], object], settings: BenchSettings) -> float:
    """What a call takes, with the device's part of it: the median of some rounds of many calls."""
    import torch

    def took(calls: int) -> float:
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(calls):
            call()
        torch.cuda.synchronize()
        return time.perf_counter() - began

    took(3)
    calls = max(1, int(settings.seconds / 10 / (took(3) / 3)))
    return statistics.median(took(calls) for _ in range(settings.rounds)) / calls


def _worker(settings: BenchSettings, notify: Notify, about: Row) -> Iterator[Row]:
    """One worker behind a broker: as it comes, and with a decoder for each core that the others leave."""
    many = max(1, len(os.sched_getaffinity(0)) - 3)
    flags: Dict[str, List[Any]] = {
        "worker": [],
        f"worker, {many} decoders": ["--decoders", many, "--window", 64],
    }
    for name, given in flags.items():
        if not settings.chosen_step(name):
            continue
        notify(f"cuda: {about['model']}, {name}")
        row = {**about, "step": name}
        try:
            with started(fleet(flags=given), find_weights(about["model"])) as driver:
                for size in settings.sizes:
                    first = measure_for(driver, settings.seconds, Order(0, size))  # it settles meanwhile
                    order = Order(frames_for(first.rate, settings.seconds), size)
                    yield {**row, "size": size, **driver.measure(order).row()}
        except NanofleetError as error:
            yield {**row, "error": str(error)}
