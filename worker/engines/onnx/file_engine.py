"""Runs an ONNX file of any tool: found out by `worker.engines.onnx.file`, its user.

uint8 [N, H, W, C] -> normalise -> layout, type, batch of the file's input -> run -> activation, if need be
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, List, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from wire.errors import NanofleetError, SettingsError
from wire.printable import first_line
from worker.decode.preprocessing import Preprocessing
from worker.engines.onnx.graph.nodes import Graph
from worker.engines.onnx.input import Input, noise_images
from worker.engines.onnx.scores import (
    Output,
    activated,
    activation_of,
    candidates,
    chosen_output,
    described,
    quantization_of,
    rows,
)
from worker.engines.sessions import (
    Session,
    batches_at_once,
    out_of_memory,
    size_of,
    sizes,
    together,
    warm,
    why,
)

if TYPE_CHECKING:
    from worker.engines.base import Pick

_Pixels = NDArray[np.uint8]


class OnnxFileEngine:
    """See `worker.engines.base.Engine`."""

    def __init__(
        self, path: Path, session: Session, wanted: Input, recipe: Preprocessing, pick: Pick, max_batch: int
    ) -> None:
        """Call `settle` before anything else."""
        self.name = pick.engine
        self.device = pick.device
        self.why = why(pick, session)
        self.at_once = batches_at_once(pick.device)
        self._path = path
        self._session = session
        self._wanted = wanted
        self._shape = recipe.shape
        self._most = together(pick, max_batch)
        scale, shift = recipe.normalisation
        self._scale, self._shift = np.array(scale, np.float32), np.array(shift, np.float32)
        #: Images in a run; None for as many as there are, or the next larger of some: see `ExportEngine`.
        self._size = wanted.batch
        self._sizes = sizes(max_batch) if pick.device != "cpu" else []
        self._options: Any = None
        if pick.engine == "onnxruntime":
            from worker.engines.onnx_engine import quiet

            self._options = quiet()  # what goes wrong is reported once, by us

    def settle(self, graph: Graph, classes: Optional[int], asked: Optional[str]) -> List[str]:
        """Run the file on two images, and see what comes out.

        Args:
            graph: the file's.
            classes: how many names there are, if any.
            asked: `--activation`.

        Returns:
            What was assumed.

        Raises:
            SettingsError: it does not run, or gives no classes.
        """
        assumed: List[str] = []
        images = noise_images(self._shape)
        output = chosen_output(self._path, graph, self._tried(graph, images), classes, assumed)
        self._output, self._keys = output.number, output.ending.keys
        self.values = output.ending.values
        self._quantization = quantization_of(output, assumed)
        scores = self._dequantized(output.values)
        self.outputs = scores.shape[1]
        self.how, self.multi_label = activation_of(self._path, output.ending.values, scores, asked, assumed)
        self._check_same_again(images, scores)
        if self._size is None and not self._same_together(images, scores):
            self._size = 1
        return assumed

    @property
    def keys(self) -> Tuple[str, ...]:
        """The names that its maps carry, unless those are 0, 1, 2 ..."""
        return () if self._keys == tuple(range(self.outputs)) else tuple(map(str, self._keys))

    def warm_up(self) -> None:
        """See Engine."""
        most = 1 if self._size else self._most  # of a fixed size there is no other
        warm(self, self._session, self._shape, most)

    def infer(self, batch: _Pixels) -> NDArray[np.float32]:
        """See Engine."""
        return activated(self._scores(batch), self.how)

    def _scores(self, batch: _Pixels) -> NDArray[np.float32]:
        """[N, outputs] for a batch, in runs of the file's own size of batch, or of the library's most."""
        most = self._size or self._most
        parts = []
        for start in range(0, len(batch), most):
            images = batch[start : start + most]
            size = self._size or size_of(len(images), self._sizes)
            raw = self._run(images, size)[self._output]
            part = rows(raw, size, self._keys)
            if part is None:
                raise RuntimeError(f"{self._path} gives {described([raw])} for {size} images")
            parts.append(part)
        return self._dequantized(np.concatenate(parts)[: len(batch)])

    def _dequantized(self, values: NDArray[Any]) -> NDArray[np.float32]:
        scale, zero = self._quantization
        return ((values.astype(np.float32) - zero) * scale).astype(np.float32)

    def _run(self, batch: _Pixels, size: int) -> List[Any]:
        """All outputs of one run, with blank images where the batch has fewer than it takes."""
        images = self._wanted.prepared(batch, self._scale, self._shift)
        missing = size - len(images)
        if missing:
            images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
        feed = images if self._wanted.batched else images[0]
        outputs: List[Any] = self._session.run(None, {self._wanted.name: feed}, self._options)
        return outputs

    def _tried(self, graph: Graph, images: _Pixels) -> List[Output]:
        """Outputs that may be the classes; each image runs alone, until more is known to work."""
        names = [output.name for output in self._session.get_outputs()]
        size = self._size or 1
        try:
            # Of a fixed batch, the images in the first of its places.
            runs = [self._run(images[start : start + size], size) for start in range(0, 2, size)]
        except Exception as error:  # onnxruntime's exceptions have no common class but Exception
            height, width = self._shape[:2]
            raise SettingsError(
                f"{self._path} cannot classify images of {width} x {height} pixels: {first_line(error)}; "
                "--crop names another size"
            ) from error
        found = candidates(graph, names, runs, size)
        if found:
            return found
        if any(getattr(raw, "dtype", None) in (np.int64, np.int32) for raw in runs[0]):
            raise SettingsError(
                f"{self._path} gives the number of the best class and no confidences: export it with its "
                "probabilities or its logits"
            )
        raise SettingsError(
            f"{self._path} gives {described(runs[0])} for {size} images, and not [{size}, classes]: it is no "
            "classifier"
        )

    def _check_same_again(self, images: _Pixels, scores: NDArray[np.float32]) -> None:
        size = self._size or 1
        spread = float(np.ptp(scores)) or 1.0
        for _ in range(3):
            part = rows(self._run(images[:1], size)[self._output], size, self._keys)
            again = None if part is None else self._dequantized(part[:1])
            if again is None or not np.allclose(
                again, scores[:1], rtol=0.02, atol=0.02 * spread, equal_nan=True
            ):
                raise SettingsError(
                    f"{self._path} gives the same image other numbers each time, as with Dropout at work: "
                    "export it for inference (in PyTorch: model.eval() before)"
                )

    def _same_together(self, images: _Pixels, alone: NDArray[np.float32]) -> bool:
        """Whether a batch of two gives what each of them gives alone: some files are fixed to 1 inside."""
        try:
            raw = self._run(images, 2)[self._output]
        except Exception as error:  # onnxruntime says no in many ways, and one at a time it has worked
            if out_of_memory(error):
                raise NanofleetError(f"{self._path}: there is too little memory for two images") from error
            return False
        together = rows(raw, 2, self._keys)
        if together is None or together.shape != alone.shape:
            return False
        spread = float(np.ptp(alone)) or 1.0
        return np.allclose(self._dequantized(together), alone, rtol=0.02, atol=0.02 * spread, equal_nan=True)
