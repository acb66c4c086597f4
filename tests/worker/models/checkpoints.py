"""A small network's state dict, and models loaded from files of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

import torch

from wire.model_choice import ModelChoice
from worker.models.info import Model
from worker.models.loader import load_model

State = Dict[str, torch.Tensor]
NAME = "shufflenet_v2_x0_5"


def load(path: Path, name: str = NAME, **fields: Any) -> Tuple[Model, torch.nn.Module]:
    return load_model(ModelChoice(model=f"{name}@{path}", **fields), path.parent)


def saved(folder: Path, content: Any, name: str = "mine.pth", **options: Any) -> Path:
    torch.save(content, folder / name, **options)
    return folder / name


def assert_same(module: torch.nn.Module, state: State, head: str = "fc") -> None:
    found = module.state_dict()
    assert {name for name in found if name.startswith(head)} == {f"{head}.weight", f"{head}.bias"}
    assert all(torch.equal(value, state[name]) for name, value in found.items())


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}
