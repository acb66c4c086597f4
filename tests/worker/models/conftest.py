"""A small network, whose state dict the tests of checkpoints save in many ways."""

from __future__ import annotations

import pytest
import torch
import torchvision.models as zoo

from tests.worker.models.checkpoints import State


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return zoo.shufflenet_v2_x0_5(weights=None, num_classes=3).eval()


@pytest.fixture(scope="module")
def state(network: torch.nn.Module) -> State:
    return dict(network.state_dict())
