"""Batch norms go into convolutions, and the answers stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision.models as zoo

from wire.model_choice import ModelChoice
from worker.engines.pytorch.folding import folded
from worker.models.loader import load_model


def norms(module: torch.nn.Module) -> int:
    return sum(isinstance(part, torch.nn.BatchNorm2d) for part in module.modules())


class Twice(torch.nn.Module):
    """Norms of a convolution that runs twice, and of one whose outputs go elsewhere as well."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.seen = torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.Conv2d(3, 3, 1)
        self.first, self.second, self.third = (torch.nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        once = self.second(self.shared(self.first(self.shared(images))))
        seen = self.seen(once)
        total: torch.Tensor = self.third(seen) + seen
        return total


class Deciding(torch.nn.Module):
    """Looks at its pixels in Python, where torch.fx cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.norm(self.convolution(images))
        return answer if images.sum() > 0 else -answer


def trained(module: torch.nn.Module) -> torch.nn.Module:
    """With norms that count."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for values in (part.weight, part.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
            for values in (part.bias, part.running_mean):
                torch.nn.init.normal_(values, std=0.1)
    return module.eval()


@pytest.mark.parametrize(
    ("module", "left"),
    [
        (zoo.resnet18(weights=None), 0),
        (zoo.mobilenet_v2(weights=None), 0),
        (Twice(), 3),
        (Deciding(), 1),
    ],
    ids=lambda given: type(given).__name__,
)
def test_the_answers_stay(module: torch.nn.Module, left: int) -> None:
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = trained(module)(images)
        before, found = norms(module), folded(module)
        assert (norms(module), norms(found)) == (before, left)
        torch.testing.assert_close(found(images), expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(module(images), expected)  # itself untouched


def test_convolutions_of_a_class_of_their_own_take_their_norms_as_well() -> None:
    """efficientnet_lite0 pads by itself."""
    _, module = load_model(ModelChoice(model="efficientnet_lite0"), Path("unused"))
    images = torch.rand(1, 3, 224, 224)
    found = folded(module)
    assert norms(module) > 40
    assert norms(found) == 0
    with torch.inference_mode():
        torch.testing.assert_close(found(images), module(images), atol=1e-3, rtol=1e-3)
