"""CUDA graphs say what the module says, whoever runs beside them; a module that has none runs without."""

from __future__ import annotations

import concurrent.futures
import threading
from pathlib import Path
from typing import List, Tuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.worker.photos import FOLDER, PHOTOS
from wire.model_choice import ModelChoice
from worker.decode.image import decode
from worker.engines.pytorch.cuda_slots import agree, reason
from worker.engines.pytorch.engine import TorchEngine
from worker.engines.sessions import sizes
from worker.models.info import Model
from worker.models.loader import load_model

LITE0 = ModelChoice(model="efficientnet_lite0")
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Undecided(torch.nn.Module):
    """Looks at its pixels in Python, which no graph can hold."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.module(images)
        return logits if images.sum().item() < 1e30 else -logits


@pytest.fixture(scope="module")
def lite0() -> Tuple[Model, torch.nn.Module]:
    return load_model(LITE0, Path("unused"))


@pytest.fixture(scope="module")
def cuts(lite0: Tuple[Model, torch.nn.Module]) -> NDArray[np.uint8]:
    """uint8 [160, 224, 224, 3]: parts of the photos, of several sizes and places."""
    recipe = lite0[0].preprocessing
    cut: List[NDArray[np.uint8]] = []
    for name in PHOTOS:
        image = decode((FOLDER / name).read_bytes(), recipe, 10**8, exact=True)
        whole = np.frombuffer(image.pixels, np.uint8).reshape(recipe.shape)
        for number in range(40):
            left, top = 2 * (number % 8), 3 * (number // 8)
            part = whole[top:, left:][:: 1 + number % 2]
            rows = np.linspace(0, len(part) - 1, recipe.crop).astype(int)
            columns = np.linspace(0, part.shape[1] - 1 - number, recipe.crop).astype(int)
            cut.append(part[rows][:, columns])
    return np.stack(cut)


def test_there_is_a_graph_for_every_batch_and_few_of_them() -> None:
    assert sizes(1) == [1]
    assert sizes(16) == [1, 2, 4, 8, 16]
    assert sizes(20) == [1, 2, 4, 8, 16, 20]
    for most in range(1, 257):
        assert len(sizes(most)) <= 9
        assert (sizes(most)[0], sizes(most)[-1]) == (1, most)


def test_graphs_that_answer_otherwise_are_noticed() -> None:
    answers = torch.rand(4, 1000).softmax(1)
    assert agree(answers.half().float(), answers)
    assert not agree(answers.roll(1, 0), answers)
    assert not agree(torch.full_like(answers, -1), answers)
    assert not agree(torch.zeros_like(answers), answers)


def test_why_there_are_no_graphs_is_what_went_wrong_first() -> None:
    def capture() -> None:
        try:
            raise RuntimeError("out of memory\nTried to allocate 20 MiB")
        finally:
            raise RuntimeError("a previous error")

    with pytest.raises(RuntimeError) as raised:
        capture()
    assert reason(raised.value) == "RuntimeError: out of memory"


@on_cuda
def test_half_precision_says_what_float32_says(
    lite0: Tuple[Model, torch.nn.Module], cuts: NDArray[np.uint8]
) -> None:
    engine = TorchEngine(*lite0, "cuda", "", 16)
    assert engine.why == "; CUDA graphs"
    reference = TorchEngine(*lite0, "cpu", "", 16)
    parts = [cuts[start : start + 16] for start in range(0, len(cuts), 16)]
    found = np.concatenate([engine.infer(part) for part in parts])
    expected = np.concatenate([reference.infer(part) for part in parts])
    assert found.dtype == np.float32
    same = found.argmax(1) == expected.argmax(1)
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > 0.05
    print(f"{same.mean():.4f} of all, {same[clear].mean():.4f} of {clear.sum()} clear ones")
    assert same.mean() >= 0.99
    assert same[clear].all()
    assert len(set(expected.argmax(1))) > 3, "pictures of the same say little"


@on_cuda
def test_a_batch_of_any_size_is_answered_as_its_images_are(
    lite0: Tuple[Model, torch.nn.Module], cuts: NDArray[np.uint8]
) -> None:
    engine = TorchEngine(*lite0, "cuda", "", 6)
    alone = np.concatenate([engine.infer(cuts[number : number + 1]) for number in range(6)])
    for size in range(6, 0, -1):
        np.testing.assert_allclose(engine.infer(cuts[:size]), alone[:size], atol=5e-3)


@on_cuda
def test_batches_at_the_same_time_keep_apart(
    lite0: Tuple[Model, torch.nn.Module], cuts: NDArray[np.uint8]
) -> None:
    engine = TorchEngine(*lite0, "cuda", "", 8)
    assert engine.at_once == 2
    expected = np.concatenate([engine.infer(cuts[start : start + 8]) for start in range(0, 160, 8)])

    def run(thread: int) -> None:
        for number in range(200):
            start = (13 * number + 80 * thread) % 152
            size = 1 + number % 8
            found = engine.infer(cuts[start : start + size])
            np.testing.assert_allclose(found, expected[start : start + size], atol=5e-3)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # more than slots, too
        list(pool.map(run, range(4)))


@on_cuda
def test_a_module_that_no_graph_can_hold_runs_without(
    lite0: Tuple[Model, torch.nn.Module], cuts: NDArray[np.uint8]
) -> None:
    model, module = lite0
    plain = TorchEngine(model, module, "cuda", "", 4)
    without = TorchEngine(model, Undecided(module).eval(), "cuda", "asked for", 4)
    print(without.why)
    assert without.why.startswith("asked for; no CUDA graphs: ")
    assert without.at_once == 1
    without.warm_up()
    for size in (1, 3, 4):
        np.testing.assert_allclose(without.infer(cuts[:size]), plain.infer(cuts[:size]), atol=5e-3)
    assert TorchEngine(model, module, "cuda", "", 4).why == "; CUDA graphs"


@on_cuda
def test_a_model_is_loaded_while_another_answers(
    lite0: Tuple[Model, torch.nn.Module], cuts: NDArray[np.uint8]
) -> None:
    serving = [TorchEngine(*lite0, "cuda", "", 8), TorchEngine(lite0[0], Undecided(lite0[1]), "cuda", "", 8)]
    loaded = threading.Event()

    def serve(engine: TorchEngine) -> int:
        expected, batches = engine.infer(cuts[:8]), 0
        while not loaded.is_set() or not batches:
            np.testing.assert_allclose(engine.infer(cuts[:8]), expected, atol=5e-3)
            batches += 1
        return batches

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(serve, engine) for engine in serving]
        try:
            fresh = [TorchEngine(*lite0, "cuda", "", 8) for _ in range(3)]
        finally:
            loaded.set()
        assert all(answer.result() for answer in answers)
    assert [engine.why for engine in fresh] == ["; CUDA graphs"] * 3
    np.testing.assert_allclose(fresh[0].infer(cuts[:8]), serving[0].infer(cuts[:8]), atol=5e-3)
