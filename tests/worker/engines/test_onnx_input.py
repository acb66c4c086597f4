"""What an ONNX file takes: where its channels are, and pixels of which shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np
import pytest

from tests.worker.engines.graphs import SIDE, Net, opened, pictures, softmax
from tests.worker.engines.logits import NAMES, PIXELS
from wire.errors import SettingsError


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (("N", 4, SIDE, SIDE), "transparency, or of four channels"),
        (("N", SIDE, SIDE, 4), "transparency, or of four channels"),
        (("N", 9, SIDE, SIDE), "9 channels"),
        (("N", 768), "one row of numbers there: put a Reshape before it"),
        (("N", 8, 3, SIDE, SIDE), "not one batch of images"),
        (("N", None, None, None), "does not tell where the channels are"),
    ],
)
def test_other_inputs_are_refused_in_a_sentence(shape: Sequence[Any], says: str, tmp_path: Path) -> None:
    net = Net(shape)
    axes = list(range(2, len(shape)))
    name = net.add("ReduceMean", "x", axes=axes, keepdims=0) if axes else net.add("Identity", "x")
    with pytest.raises(SettingsError, match=says):
        opened(net.give(name).save(tmp_path / "net.onnx"), NAMES)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_convolution_tells_where_the_channels_are(
    channels: int, channels_last: bool, tmp_path: Path
) -> None:
    net = Net(("N", None, None, None))
    name = net.add("Transpose", "x", perm=[0, 3, 1, 2]) if channels_last else "x"
    weights = np.ones((3, channels, 1, 1), np.float32) * np.array([1, 2, 3], np.float32).reshape(3, 1, 1, 1)
    net.give(net.means(net.add("Conv", name, net.const(weights))))
    model, engine = opened(net.save(tmp_path / "net.onnx"), NAMES, crop=SIDE, **PIXELS)
    assert model.preprocessing.shape == (SIDE, SIDE, channels)
    shown = pictures(2, channels)
    sums = (shown / 255.0).mean((1, 2)).sum(1, keepdims=True)
    np.testing.assert_allclose(engine.infer(shown), softmax(sums * [1, 2, 3]), atol=1e-4)


def test_a_shape_that_is_not_square_is_squeezed_into_unless_told_otherwise(tmp_path: Path) -> None:
    net = Net(("N", 3, SIDE, 2 * SIDE))
    path = net.give(net.means()).save(tmp_path / "net.onnx")
    model, engine = opened(path, NAMES, scaling="unit")
    assert (model.preprocessing.shape, model.preprocessing.fit) == ((SIDE, 2 * SIDE, 3), "squeeze")
    assert any("squeezed into its 32 x 16 pixels; --fit" in each for each in model.assumed)
    shown = pictures(2, width=2 * SIDE)
    np.testing.assert_allclose(engine.infer(shown), softmax((shown / 255.0).mean((1, 2))), atol=1e-4)
    model, _ = opened(path, NAMES, scaling="unit", fit="pad")
    assert (model.preprocessing.fit, model.assumed) == ("pad", ())


def test_a_resize_that_leaves_nothing_to_crop_shows_the_whole_image(tmp_path: Path) -> None:
    net = Net()
    path = net.give(net.means()).save(tmp_path / "net.onnx")
    model, _ = opened(path, NAMES, scaling="unit", channels="rgb", resize=SIDE)
    (sentence,) = model.assumed
    assert model.preprocessing.fit == "squeeze"
    assert "squeezed into its 16 x 16 pixels; --fit says otherwise" in sentence
    for more in ({"crop": SIDE}, {"fit": "crop"}):
        model, _ = opened(path, NAMES, scaling="unit", resize=SIDE, **more)
        assert (model.preprocessing.fit, model.assumed) == ("crop", ())
    assert opened(path, NAMES, scaling="unit", resize=SIDE + 2)[0].preprocessing.fit == "crop"
    net.metadata = {"task": "classify", "imgsz": "[16, 16]", "names": str(dict(enumerate(NAMES)))}
    model, _ = opened(net.save(path), resize=SIDE)
    assert (model.preprocessing.fit, model.assumed) == ("crop", ())
