"""Sessions: an ONNX graph in the library that runs it, and what those libraries have in common here.

onnx_engine.open_session      ONNX Runtime
openvino_engine.open_session  OpenVINO

Neither is imported before it is to run something: each takes time and memory that the other one needs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from typing_extensions import Protocol

from wire.errors import SettingsError
from worker import cores
from worker.engines.base import Engine, Pick

#: Batches that a session runs at the same time on a CPU. Costs a single frame some of its speed.
CPU_BATCHES = cores.batches()


class Damaged(SettingsError):
    """A file is no ONNX model that can be run here."""


class DeviceUnusable(SettingsError):
    """A library cannot use the CUDA device: it is not for that, or does not find what it needs there."""


class Session(Protocol):
    """An opened graph, in the form of ONNX Runtime's sessions."""

    def get_inputs(self) -> List[Any]:
        """Its inputs: each has a `name`, a `type` such as `tensor(float)`, and a `shape`."""

    def get_outputs(self) -> List[Any]:
        """Its outputs, likewise."""

    def run(self, names: None, feed: Dict[str, Any], options: Any = None) -> List[Any]:
        """All outputs for the inputs by their names; from any thread."""


def open_session(
    path: Path, pick: Pick, weights_dir: Path, content: Optional[bytes] = None, most: int = 1
) -> Session:
    """A session for an ONNX file.

    Args:
        path: the file.
        pick: the library, the device and the precision.
        weights_dir: where TensorRT keeps the engines that it builds.
        content: what is in the file, if that was read already.
        most: images that are run together, at most; more are run in parts.

    Raises:
        Damaged: the file is no ONNX model, or a damaged one, or needs operators that are not there.
        DeviceUnusable: onnxruntime would run it on the CPU instead.
        NanofleetError: something else is in the way, such as too little memory.
    """
    session: Session
    if pick.engine == "openvino":
        from worker.engines import openvino_engine

        session = openvino_engine.open_session(path, pick.precision, content, most)
    else:
        from worker.engines import onnx_engine

        session = onnx_engine.open_session(path, pick.device, weights_dir, content, precision=pick.precision)
    return session


def why(pick: Pick, session: Session) -> str:
    """Why this library, and on CUDA what of it runs the session."""
    if pick.device == "cpu":
        return pick.why
    from worker.engines.onnx_engine import runs_by

    return f"{pick.why}; {runs_by(session, pick.precision)}"


def batches_at_once(device: str) -> int:
    """Threads that should run a session at the same time."""
    return CPU_BATCHES if device == "cpu" else 1


def threads_of_a_batch() -> int:
    """Threads that compute one batch on a CPU."""
    return max(1, cores.available() // CPU_BATCHES)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of a library's, or of Python's, says that there is no more memory."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in ("alloc", "out of memory"))


def sizes(max_batch: int) -> List[int]:
    """Batch sizes that run on CUDA: powers of two, and the largest. Others run as the next larger one."""
    return [1 << power for power in range(max_batch.bit_length()) if 1 << power < max_batch] + [max_batch]


def size_of(count: int, some: Sequence[int]) -> int:
    """The size in which a batch runs: the least of some that holds it, or its own."""
    return min((each for each in some if each >= count), default=count)


def together(pick: Pick, max_batch: int) -> int:
    """Images that a session should run together, at most, of batches that may have more."""
    return min(max_batch, pick.together) if pick.engine == "openvino" else max_batch


def warm(engine: Engine, session: Any, shape: Tuple[int, int, int], most: int) -> None:
    """Run the batches that an engine has to have seen before it serves.

    OpenVINO gets memory ready, and compiles what it has not yet, for each of the batches that run at once.
    On CUDA, ONNX Runtime looks for the fastest convolutions of each, which takes seconds; TensorRT builds for
    all between the least and the largest that it has seen, so that these come first.

    Args:
        engine: which.
        session: what it runs.
        shape: of an image.
        most: images that the session runs together.
    """
    openvino = engine.name == "openvino"
    some = sizes(most) if engine.device != "cpu" else sorted({1, most})
    engine.infer(np.zeros((1, *shape), np.uint8))  # alone: a library may set itself up
    with ThreadPoolExecutor(engine.at_once) as threads:
        for size in session.cold(most) if openvino else reversed(some):
            batch = np.zeros((size, *shape), np.uint8)
            list(threads.map(engine.infer, [batch] * (engine.at_once if openvino else 1)))
