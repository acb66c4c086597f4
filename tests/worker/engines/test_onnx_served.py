"""ONNX files served by a worker: what stands in its Results, its Rejections and its status."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Callable, Tuple

from PIL import Image

from tests.fleets import Fleet
from tests.harness import Listener, WorkerProcess, wait_for
from tests.worker.engines.graphs import SIDE, Net
from wire.messages import Reason, Rejection, Result, WorkerStatus


def png(colour: Tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(buffer, "PNG")
    return buffer.getvalue()


def serve(
    folder: Path,
    end: Callable[[Net, str], str],
    fleet: Fleet,
    *flags: str,
) -> WorkerProcess:
    """Serve 6 x - 3 of each channel's mean, and what follows it."""
    net = Net()
    scores = net.add("Sub", net.add("Mul", net.means(), net.const(6.0)), net.const(3.0))
    path = net.give(end(net, scores)).save(folder / "net.onnx")
    (folder / "labels.txt").write_text("red\ngreen\nblue\n", encoding="utf-8")
    return fleet.worker("--model", str(path), "--labels", str(folder / "labels.txt"), *flags)


def answer_to(listener: Listener, root: str, image: bytes) -> Any:
    seen = len(listener.messages)
    listener.publish(f"{root}/frames/door", image)
    wait_for(lambda: len(listener.messages) > seen, what="an answer")
    return listener.messages[-1].payload


def test_several_labels_stand_in_the_result(
    root: str,
    fleet: Fleet,
    tmp_path: Path,
) -> None:
    flags = ["--scaling", "unit", "--fit", "squeeze", "--threshold", "0.6"]
    serve(tmp_path, lambda net, x: net.add("Sigmoid", x), fleet, *flags)
    listener = fleet.listen("results/+")
    # 153 is 0.6, a logit of 0.6, 0.65; 230 is 0.9, a logit of 2.4, 0.92; 26 is 0.1.
    result = Result.decode(answer_to(listener, root, png((153, 26, 230))))
    assert (result.labels, result.label) == (("blue", "red"), "blue")
    assert sum(candidate.confidence for candidate in result.top) > 1.5
    result = Result.decode(answer_to(listener, root, png((26, 26, 26))))
    assert result.labels == ()
    (status,) = [WorkerStatus.decode(m.payload) for m in statuses(fleet)]
    assert status.assumed == ()


def statuses(fleet: Fleet) -> Any:
    listener = fleet.listen("workers/+")
    wait_for(lambda: listener.messages, what="a status")
    return listener.messages[:1]


def test_one_label_of_several_and_what_was_assumed(
    root: str,
    fleet: Fleet,
    tmp_path: Path,
) -> None:
    serve(tmp_path, lambda net, x: net.add("Softmax", x, axis=1), fleet)
    listener = fleet.listen("results/+")
    result = Result.decode(answer_to(listener, root, png((230, 26, 26))))
    assert (result.label, result.labels) == ("red", None)
    (status,) = [WorkerStatus.decode(m.payload) for m in statuses(fleet)]
    assert any("--scaling imagenet" in sentence for sentence in status.assumed)


def test_what_is_no_probability_is_rejected(
    root: str,
    fleet: Fleet,
    tmp_path: Path,
) -> None:
    # 1.5 times the mean: for pictures that are not so bright it looks like a probability.
    def end(net: Net, scores: str) -> str:
        return str(net.add("Mul", net.add("Add", scores, net.const(3.0)), net.const(0.25)))

    flags = ["--scaling", "unit", "--resize", str(SIDE), "--activation", "none"]
    serve(tmp_path, end, fleet, *flags)
    listener = fleet.listen("results/+", "rejects/+")
    rejection = Rejection.decode(answer_to(listener, root, png((255, 255, 255))))
    assert rejection.reason is Reason.NOT_A_NUMBER
    assert "no probabilities: --activation" in rejection.detail
    assert Result.decode(answer_to(listener, root, png((128, 128, 120)))).label in ("red", "green")
