"""ONNX files as they come from any tool: what they want and what they give is found out, not asked.

uint8 [N, H, W, 3] -> normalise -> layout, type, batch of the file's input -> run -> softmax, if need be

input     [N, 3, H, W] or [N, H, W, 3] of float32, float16 or uint8 (which gets the pixels as they are)
output    [N, classes] or [N, classes, 1, 1], logits or probabilities: which of the two shows in two images
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from labels import IMAGENET_1K, read_labels
from wire.choice import ModelChoice
from wire.errors import SettingsError
from worker.decode.preprocessing import Preprocessing
from worker.engines.onnx_engine import batches_at_once, open_session
from worker.models.info import Model
from worker.models.overrides import check_sha256, overridden

if TYPE_CHECKING:
    from worker.engines.base import Pick

_TYPES: Dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_DEFAULT_CROP = 224


class _Input(NamedTuple):
    """What a file wants; None for a dimension that it leaves open."""

    name: str
    dtype: Any
    channels_first: bool
    batch: Optional[int]
    side: Optional[int]


def open_onnx(
    choice: ModelChoice, pick: Pick, max_batch: int, weights_dir: Path
) -> Tuple[Model, OnnxFileEngine]:
    """Open a FILE.onnx.

    Args:
        choice: its `model` is the file; its labels are the caller's business.
        pick: the device, and why.
        max_batch: frames in a batch, at most.
        weights_dir: where TensorRT keeps the engines that it builds.

    Raises:
        SettingsError: it is no classifier of images, or damaged.
    """
    path = Path(choice.model)
    sha256 = check_sha256(path, choice.sha256)
    session = open_session(path, pick.device, weights_dir)
    wanted = _input_of(path, session)
    if wanted.side and choice.crop and choice.crop != wanted.side:
        raise SettingsError(f"--crop {choice.crop}: {path} takes images of {wanted.side} pixels")
    crop = wanted.side or choice.crop or _DEFAULT_CROP
    # The usual proportion, of ImageNet's evaluation.
    recipe = overridden(Preprocessing(resize=round(crop * 256 / 224), crop=crop), choice)
    engine = OnnxFileEngine(path, session, wanted, recipe, pick, max_batch)
    imagenet = engine.outputs == 1000
    model = Model(
        name=path.stem,
        weights=path.name,
        sha256=sha256,
        classes=read_labels(IMAGENET_1K) if imagenet else tuple(map(str, range(engine.outputs))),
        named=imagenet,
        preprocessing=recipe,
    )
    return model, engine


def _input_of(path: Path, session: Any) -> _Input:
    inputs = session.get_inputs()
    described = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _TYPES:
        raise SettingsError(
            f"{path} takes {described or 'nothing'}, and not one batch of images: [N, 3, H, W] or "
            "[N, H, W, 3] of float32, float16 or uint8"
        )
    shape = [side if isinstance(side, int) else None for side in inputs[0].shape]
    if shape[1] is None and shape[3] is None:
        raise SettingsError(
            f"{path} takes {described}, which does not tell where the channels are: export it with 3 fixed"
        )
    if 3 not in (shape[1], shape[3]):
        raise SettingsError(f"{path} takes {described}: images of another number of channels than 3")
    channels_first = shape[1] == 3
    height, width = shape[2:] if channels_first else shape[1:3]
    if height and width and height != width:
        raise SettingsError(f"{path} takes images of {width} x {height} pixels; only squares are supported")
    return _Input(inputs[0].name, _TYPES[inputs[0].type], channels_first, shape[0], height or width)


class OnnxFileEngine:
    """See `worker.engines.base.Engine`."""

    name = "onnxruntime"

    def __init__(
        self, path: Path, session: Any, wanted: _Input, recipe: Preprocessing, pick: Pick, max_batch: int
    ) -> None:
        """Run the file on two images, and see what comes out.

        Raises:
            SettingsError: it does not run, or gives no classes.
        """
        self.device = pick.device
        self.why = pick.why
        self.at_once = batches_at_once(pick.device)
        self._session = session
        self._wanted = wanted
        self._crop = recipe.crop
        self._max_batch = max_batch
        # (x / 255 - mean) / std  =  x * 1/(255 std)  -  mean/std: one multiply-add.
        mean, std = np.array(recipe.mean, np.float32), np.array(recipe.std, np.float32)
        self._scale, self._shift = 1 / (255 * std), -mean / std
        images = np.random.default_rng(0).integers(0, 256, (2, self._crop, self._crop, 3)).astype(np.uint8)
        try:
            outputs = self._run(images)
        except Exception as error:  # onnxruntime's exceptions have no common class but Exception
            lines = str(error).splitlines() or [""]
            raise SettingsError(
                f"{path} cannot classify images of {self._crop} pixels: {lines[0]}; --crop names another size"
            ) from error
        self._output = _classes_output(path, outputs)
        scores = self._scores(outputs)
        self.outputs = scores.shape[1]
        #: Probabilities are not negative and sum to 1; logits of two images do not by chance.
        self._are_probabilities = bool((scores >= 0).all() and np.allclose(scores.sum(1), 1, atol=1e-2))

    def warm_up(self) -> None:
        """See Engine."""
        for size in (1, self._max_batch):
            self.infer(np.zeros((size, self._crop, self._crop, 3), np.uint8))

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See Engine."""
        scores = self._scores(self._run(batch))
        with np.errstate(invalid="ignore"):  # an image that the file answers with NaN keeps it
            if self._are_probabilities:
                shares = scores.clip(0)  # reduced precision is off by a little
            else:
                shares = np.exp(scores - scores.max(1, keepdims=True))
            probabilities: NDArray[np.float32] = shares / shares.sum(1, keepdims=True)
        return probabilities

    def _scores(self, outputs: List[NDArray[Any]]) -> NDArray[np.float32]:
        output = outputs[self._output]
        return output.reshape(output.shape[0], output.shape[1]).astype(np.float32)

    def _run(self, batch: NDArray[np.uint8]) -> List[NDArray[Any]]:
        """All outputs for a batch, in as many runs as the file's own size of batch makes necessary."""
        images = self._prepared(batch)
        size = self._wanted.batch or len(images)
        runs = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            padding = np.zeros((size - len(part), *part.shape[1:]), part.dtype)
            filled = np.concatenate([part, padding]) if len(padding) else part
            runs.append(self._session.run(None, {self._wanted.name: filled}))
        return [np.concatenate(outputs)[: len(images)] for outputs in zip(*runs)]

    def _prepared(self, batch: NDArray[np.uint8]) -> NDArray[Any]:
        images: NDArray[Any] = batch
        if self._wanted.dtype != np.uint8:
            images = batch * self._scale + self._shift
        if self._wanted.channels_first:
            images = images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images, self._wanted.dtype)


def _classes_output(path: Path, outputs: List[NDArray[Any]]) -> int:
    for number, output in enumerate(outputs):
        flat = output.ndim == 2 or (output.ndim == 4 and output.shape[2:] == (1, 1))
        if flat and output.shape[0] == 2 and output.shape[1] > 1:
            return number
    shapes = ", ".join(str(list(output.shape)) for output in outputs)
    raise SettingsError(f"{path} gives {shapes} for 2 images, and not [2, classes]: it is no classifier")
