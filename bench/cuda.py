"""What a CUDA machine does: whole workers by their front ends, then what each step takes alone.

frames ──> worker ──> answers
pixels ──> pinned ──> device ──> normalise, module, softmax ──> top 5 ──> host
JPEG ────> pixels, in processes or by nvJPEG on the device
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Callable, Iterator, Sequence

from bench.drive import Order
from bench.front_ends import crowded
from bench.measure import FPS, Notify, Row, frames_for, measure_for
from bench.settings import BenchSettings
from bench.weights import Weights, cache_folder, find_weights
from wire.errors import NanofleetError

if TYPE_CHECKING:
    from bench.cuda_steps import Step

BATCHES = (1, 8, 32)
#: Of the first model's workers, beside the one that is a single process; and of the other models'.
FRONT_ENDS, MANY = (2, 4, 6), 4
#: A model with its trained weights: seeded ones are sure of nothing.
LABELS_OF = "efficientnet_lite0"


def cuda(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure workers, labels, each step with each model and batch size, and decoding by size.

    Raises:
        NanofleetError: there is no CUDA device.
    """
    import torch

    if not torch.cuda.is_available():
        raise NanofleetError("cuda: PyTorch finds no CUDA device here")
    from bench.cuda_steps import of_batch, of_decoding

    common = {"experiment": "cuda", "device": torch.cuda.get_device_name()}
    yield from _workers(settings, notify, common)
    yield from _labels(settings, notify, common)
    for model in settings.models:
        for batch in BATCHES:
            about = {**common, "model": model, "images": batch}
            yield from _steps(settings, notify, of_batch(find_weights(model), batch), about)
    for size in settings.sizes:
        yield from _steps(settings, notify, of_decoding(size), {**common, "size": size})


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


def _workers(settings: BenchSettings, notify: Notify, common: Row) -> Iterator[Row]:
    """Workers behind a broker: the first model's by the number of front ends, then the others'."""
    first, *others = settings.models
    yield from _worker(settings, notify, common, first, "worker", 1)
    for processes in [MANY] if settings.quick else FRONT_ENDS:
        yield from _worker(settings, notify, common, first, f"worker, {processes} front ends", processes)
    name = f"worker, {MANY} front ends, no observer"
    yield from _worker(settings, notify, common, first, name, MANY, ["--no-observe"])
    one_size = settings.model_copy(update={"sizes": settings.sizes[:1]})
    for model in others:
        yield from _worker(one_size, notify, common, model, f"worker, {MANY} front ends", MANY)


def _worker(
    settings: BenchSettings,
    notify: Notify,
    common: Row,
    model: str,
    name: str,
    processes: int,
    flags: Sequence[object] = (),
) -> Iterator[Row]:
    if not settings.chosen_step(name):
        return
    notify(f"cuda: {model}, {name}")
    row = {**common, "model": model, "worker": name}
    try:
        with crowded(find_weights(model), processes, flags) as crowd:
            for size in settings.sizes:
                settled = measure_for(crowd, settings.seconds, Order(0, size))
                order = Order(frames_for(settled.rate, settings.seconds), size)
                for _ in range(settings.rounds):
                    yield {**row, "size": size, **crowd.row(order)}
    except NanofleetError as error:
        yield {**row, "error": str(error)}


def _labels(settings: BenchSettings, notify: Notify, common: Row) -> Iterator[Row]:
    """Whether front ends say what the model says in float32; of one whose weights come as a package."""
    if not settings.chosen_step("labels"):
        return
    notify(f"cuda: {LABELS_OF}, labels")
    from bench.labels import agreement

    row = {**common, "model": LABELS_OF, "step": "labels"}
    try:
        weights = Weights(LABELS_OF, cache_folder(), "of its package")
        yield {**row, **agreement(weights, 2, "cuda")}
    except (NanofleetError, RuntimeError) as error:  # PyTorch's, of a device that cannot do this
        yield {**row, "error": str(error)}
