"""What OpenVINO is given to compile: a graph for each size of batch, and the last layer by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

from tests.worker.engines.graphs import SIDE, Net
from tests.worker.engines.libraries import needs_openvino
from wire.model_choice import ModelChoice
from worker.engines import openvino_graph
from worker.engines.base import Pick
from worker.engines.onnx.file import open_onnx
from worker.engines.onnx_engine import open_session as open_onnxruntime
from worker.engines.openvino_engine import NoInstructions, OpenvinoSession, _core, open_session
from worker.engines.openvino_graph import cut, forms

pytestmark = needs_openvino


def rng() -> np.random.Generator:
    """Draws the same numbers in each test, whichever were run before."""
    return np.random.default_rng(1)


#: Of which no digit fits into 16 bits.
WEIGHTS = rng().uniform(10, 20, (3, 4)).astype(np.float32)


def layer(net: Net) -> str:
    """A convolution."""
    weights = net.const(rng().normal(size=(3, 3, 3, 3)))
    return str(net.add("Relu", net.add("Conv", "x", weights, net.const([0.1, -0.2, 0.3]), pads=[1] * 4)))


def classifier(path: Path, batch: Any = "N") -> Path:
    """A convolution, means, and a last layer that is fully connected."""
    net = Net((batch, 3, SIDE, SIDE))
    logits = net.add("Gemm", net.means(layer(net)), net.const(WEIGHTS), net.const([1, 2, 3, 4]))
    net.give(net.add("Softmax", logits, axis=1), (batch, 4)).save(path)
    return path


def read(path: Path) -> Any:
    return _core().read_model(str(path))


def images(count: int) -> Any:
    return rng().uniform(0, 1, (count, 3, SIDE, SIDE)).astype(np.float32)


@pytest.mark.parametrize(("most", "sizes"), [(1, [1]), (3, [1, 2]), (4, [1, 2, 4]), (8, [1, 2, 4, 8])])
def test_each_size_of_batch_has_a_graph_of_known_shapes(most: int, sizes: Any, tmp_path: Path) -> None:
    found = forms(read(classifier(tmp_path / "net.onnx")), most)
    assert list(found) == sizes
    assert all(list(form.input(0).shape) == [size, 3, SIDE, SIDE] for size, form in found.items())


@pytest.mark.parametrize("most", [1, 4, 8])
def test_batches_of_other_sizes_are_run_in_parts(most: int, tmp_path: Path) -> None:
    path = classifier(tmp_path / "net.onnx")
    session = open_session(path, "float32", None, most)
    other = open_onnxruntime(path, "cpu", tmp_path)
    assert [each.shape for each in session.get_inputs()] == [[None, 3, SIDE, SIDE]]
    for count in range(1, 10):
        batch = images(count)
        (found,), (expected,) = session.run(None, {"x": batch}), other.run(None, {"x": batch})
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("large", [False, True])
def test_a_graph_that_is_made_for_one_image_inside_runs_one_after_the_other(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_graph, "LARGE", 100 if large else openvino_graph.LARGE)
    net = Net()
    token = net.const(rng().normal(size=(1, 1, 3)))  # of a transformer, traced with one image
    both = net.add(
        "Concat", token, net.add("Unsqueeze", net.means(layer(net)), net.const([1], np.int64)), axis=1
    )
    path = net.give(net.add("ReduceMean", both, axes=[1], keepdims=0), ("N", 3)).save(tmp_path / "net.onnx")
    assert list(forms(read(path), 4)) == [1]
    batch = images(5)
    session, other = open_session(path, "float32", None, 4), open_onnxruntime(path, "cpu", tmp_path)
    expected = [other.run(None, {"x": batch[number : number + 1]})[0][0] for number in range(5)]
    for count in (2, 1, 5):
        np.testing.assert_allclose(session.run(None, {"x": batch[:count]})[0], expected[:count], atol=1e-5)


def test_a_graph_of_one_size_is_compiled_as_it_is(tmp_path: Path) -> None:
    assert not forms(read(classifier(tmp_path / "net.onnx", 2)), 4)


def test_the_rows_of_one_image_are_no_batch(tmp_path: Path) -> None:
    net = Net(("H", "W", 3))
    image = net.add("Unsqueeze", net.add("Transpose", "x", perm=[2, 0, 1]), net.const([0], np.int64))
    path = net.give(net.means(image), (1, 3)).save(tmp_path / "net.onnx")
    photo = images(1)[0].transpose(1, 2, 0).copy()
    (found,) = open_session(path, "float32", None, 1).run(None, {"x": photo})
    np.testing.assert_allclose(found, [photo.mean((0, 1))], atol=1e-6)


def test_a_large_graph_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_graph, "LARGE", 100)
    path = classifier(tmp_path / "net.onnx")
    assert not forms(read(path), 4)
    batch = images(3)
    (found,) = open_session(path, "float32", None, 4).run(None, {"x": batch})
    np.testing.assert_allclose(
        found, open_onnxruntime(path, "cpu", tmp_path).run(None, {"x": batch})[0], atol=1e-5
    )


@pytest.mark.parametrize(("large", "sizes"), [(False, [1, 2, 4, 8]), (True, [1, 2, 3, 4, 5, 6, 7, 8])])
def test_a_graph_is_warmed_for_the_sizes_that_it_has_or_for_every_one(
    large: bool, sizes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_graph, "LARGE", 100 if large else openvino_graph.LARGE)
    path = classifier(tmp_path / "net.onnx")
    _, engine = open_onnx(ModelChoice(model=str(path)), Pick("openvino", "cpu", "asked for"), 16, tmp_path)
    ran: List[int] = []

    def run(self: Any, names: None, feed: Any, options: Any = None) -> Any:
        ran.append(len(feed["x"]))
        return real(self, names, feed, options)

    real = OpenvinoSession.run
    monkeypatch.setattr(OpenvinoSession, "run", run)
    engine.warm_up()
    assert ran == [1, *(size for size in sizes for _ in range(engine.at_once))]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_last_layer_of_16_bits_is_in_float32(precision: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    net = Net()
    net.give(net.add("Gemm", net.means(), net.const(WEIGHTS), net.const([1, 2, 3, 4])), ("N", 4)).save(path)
    try:
        session = open_session(path, precision, None, 4)
    except NoInstructions as error:
        pytest.skip(str(error))
    means = rng().integers(1, 100, (count, 3)).astype(np.float32)  # these fit into 16 bits
    batch = np.broadcast_to(means[..., None, None], (count, 3, SIDE, SIDE)).copy()
    (found,) = session.run(None, {"x": batch})
    assert [each.shape for each in session.get_outputs()] == [[None, 4]]
    np.testing.assert_allclose(found, means @ WEIGHTS + [1, 2, 3, 4], rtol=1e-5)


def test_a_graph_is_cut_before_its_last_layer(tmp_path: Path) -> None:
    whole = read(classifier(tmp_path / "net.onnx"))
    body, last = cut(whole)
    assert [each.get_partial_shape().to_string() for each in last.inputs] == ["[?,3]"]
    kinds = [[each.get_type_name() for each in part.get_ordered_ops()] for part in (whole, body, last)]
    assert [kind.count("Convolution") for kind in kinds] == [1, 1, 0]
    assert [kind.count("MatMul") for kind in kinds] == [1, 0, 1]


def test_a_graph_whose_last_layer_is_a_convolution_is_not_cut(tmp_path: Path) -> None:
    net = Net()
    net.give(net.means(layer(net)), ("N", 3)).save(tmp_path / "net.onnx")
    whole = read(tmp_path / "net.onnx")
    assert cut(whole) == (whole, None)


def test_a_graph_that_looks_at_the_image_again_at_its_end_is_not_cut(tmp_path: Path) -> None:
    net = Net()
    logits = net.add("MatMul", net.means(layer(net)), net.const(np.eye(3)))
    net.give(net.add("Add", logits, net.means()), ("N", 3)).save(tmp_path / "net.onnx")
    whole = read(tmp_path / "net.onnx")
    assert cut(whole) == (whole, None)
    assert [each.get_any_name() for each in whole.inputs] == ["x"]
