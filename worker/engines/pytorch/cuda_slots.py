"""Slots in which a CUDA device runs batches: each has memory, a stream, and a graph for each batch size.

batch ──> pinned pixels ──> device ──> forward ──> pinned answers ──> rows
          └────────────── one graph: a single launch ───────────┘

A batch of a small network is hundreds of kernels, which Python launches more slowly than they run.
"""

from __future__ import annotations

import gc
import queue
from typing import Callable, Dict, List, Optional, Tuple

import numpy as np
import torch
from numpy.typing import NDArray

from wire.printable import first_line
from worker.engines.sessions import sizes

#: uint8 [N, H, W, C] on the device -> float32 [N, classes] on the device.
Forward = Callable[[torch.Tensor], torch.Tensor]

#: Slots where there are graphs: one batch is copied to and from the device while another is computed.
SLOTS = 2


class Slot:
    """Runs one batch at a time, beside other slots."""

    def __init__(
        self, forward: Forward, shape: Tuple[int, ...], max_batch: int, device: torch.device
    ) -> None:
        """Set the memory for one batch aside.

        Args:
            forward: what to run.
            shape: of an image.
            max_batch: images in a batch, at most.
            device: a CUDA device.
        """
        self._forward = forward
        self._device = device
        self._stream = torch.cuda.Stream(device)
        # A thread that waits for it sleeps: one that spins takes a core from the decoders.
        self._done = torch.cuda.Event(blocking=True)
        # CUDA copies straight from and to memory that cannot be paged out, while the CPU goes on.
        self._pixels = torch.zeros((max_batch, *shape), dtype=torch.uint8, pin_memory=True)
        self._answers: Optional[torch.Tensor] = None
        self._graphs: Dict[int, torch.cuda.CUDAGraph] = {}

    def capture(self, sizes: List[int]) -> None:
        """Make graphs for batches of these sizes, the largest first: the others need no more memory.

        Raises:
            RuntimeError: PyTorch cannot capture this module here, or what it captured says something else.
        """
        pool = torch.cuda.graph_pool_handle()
        for size in sorted(sizes, reverse=True):
            for _ in range(2):  # what is set up at a first use must not become part of the graph
                self._run_eagerly(size)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.stream(self._stream):
                # Another model may serve meanwhile: only this thread must keep from what a capture forbids.
                graph.capture_begin(pool=pool, capture_error_mode="thread_local")
                try:
                    self._launch(size)
                finally:
                    graph.capture_end()
            self._check(graph, size)
            self._graphs[size] = graph

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See Engine."""
        size = len(batch)
        # NumPy's copy: PyTorch's goes by threads that spin, and takes all cores from the decoders.
        np.copyto(self._pixels.numpy()[:size], batch)
        captured = min((each for each in self._graphs if each >= size), default=None)
        if captured is None:
            self._run_eagerly(size)
        else:
            self._replay(self._graphs[captured])
        assert self._answers is not None
        answers: NDArray[np.float32] = self._answers[:size].numpy().copy()
        return answers

    def _run_eagerly(self, size: int) -> None:
        with torch.cuda.stream(self._stream):
            self._launch(size)
            self._done.record()
        self._done.synchronize()

    def _replay(self, graph: torch.cuda.CUDAGraph) -> None:
        with torch.cuda.stream(self._stream):
            graph.replay()
            self._done.record()
        self._done.synchronize()

    def _launch(self, size: int) -> None:
        with torch.inference_mode():
            on_device = self._pixels[:size].to(self._device, non_blocking=True)
            answers = self._forward(on_device)
        if self._answers is None:
            shape = (len(self._pixels), *answers.shape[1:])
            self._answers = torch.zeros(shape, dtype=answers.dtype, pin_memory=True)
        with torch.inference_mode():
            self._answers[:size].copy_(answers, non_blocking=True)

    def _check(self, graph: torch.cuda.CUDAGraph, size: int) -> None:
        """Compare a graph with what it was captured from, on pixels that it has not seen."""
        self._pixels[:size].random_(0, 256)
        self._run_eagerly(size)
        assert self._answers is not None
        expected = self._answers[:size].clone()
        self._answers.fill_(-1)
        self._replay(graph)
        if not agree(self._answers[:size], expected):
            raise RuntimeError(f"a graph of {size} images answers otherwise than the module")


class Slots:
    """As many slots as a device can make use of; from as many threads."""

    def __init__(
        self, forward: Forward, shape: Tuple[int, ...], max_batch: int, device: torch.device
    ) -> None:
        """See Slot."""
        #: Why there are no graphs; None where there are.
        self.without: Optional[str] = None
        torch.cuda.synchronize(device)  # the module has arrived, for all streams
        slots = [Slot(forward, shape, max_batch, device) for _ in range(SLOTS)]
        gc.collect()  # memory that is given back during a capture would end it
        try:
            for slot in slots:
                slot.capture(sizes(max_batch))
        # A module fails in as many ways as it can be written, and PyTorch may be too old or built without.
        except Exception as error:  # noqa: BLE001
            self.without = reason(error)
            slots = []  # their memory first
            torch.cuda.empty_cache()
            slots = [Slot(forward, shape, max_batch, device)]
        self.count = len(slots)
        self._free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for slot in slots:
            self._free.put(slot)

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See Engine."""
        slot = self._free.get()
        try:
            return slot.infer(batch)
        finally:
            self._free.put(slot)


def reason(error: BaseException) -> str:
    """The first cause: the end of a capture that has failed fails as well."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {first_line(error)}"


def agree(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two runs in half precision are the same."""
    return torch.allclose(found, expected, rtol=0.05, atol=1e-4, equal_nan=True)
