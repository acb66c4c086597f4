"""The models' weights: published ones where they are, else seeded ones of the same shapes.

A network's speed does not depend on its values, as long as they are as large as a trained one's. But which
engines agree on its labels may: efficientnet_lite0, whose package brings its weights, is always as published.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.models.info import EFFICIENTNET_LITE0
from worker.settings import default_weights_dir


class Weights(NamedTuple):
    """What to run, and whose weights these are."""

    model: str
    folder: Path
    origin: str

    @property
    def choice(self) -> ModelChoice:
        """As `worker.engines.select.open_model` wants it."""
        return ModelChoice(model=self.model)


def cache_folder() -> Path:
    """Where the bench keeps what it makes once: seeded weights, and exports of both kinds."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "nanofleet" / "bench"


def find_weights(name: str) -> Weights:
    """The weights of efficientnet_lite0 or one of torchvision's models; seeded ones are written if need be.

    Raises:
        SettingsError: there is no such model.
    """
    if name == EFFICIENTNET_LITE0:
        cache_folder().mkdir(parents=True, exist_ok=True)
        return Weights(name, cache_folder(), "as its package brings them")
    import torchvision.models as zoo

    try:
        published = zoo.get_model_weights(name).DEFAULT
    except ValueError:
        raise SettingsError(f"--models {name}: torchvision has no such model") from None
    file = Path(urlparse(published.url).path).name
    if (default_weights_dir() / file).exists():
        return Weights(name, default_weights_dir(), f"{published.name}, as published")
    seeded = cache_folder() / f"{name}-seeded.pth"
    if not seeded.exists():
        _seed(name, seeded)
    return Weights(f"{name}@{seeded}", cache_folder(), f"seeded, of the shapes of {published.name}")


def _seed(name: str, path: Path) -> None:
    import torch
    import torchvision.models as zoo

    torch.manual_seed(0)
    module = zoo.get_model(name, weights=None)
    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0  # so that activations neither fade nor grow, which could cost time
        module.train()
        module(torch.rand(8, 3, 224, 224))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(module.state_dict(), part)
    part.replace(path)
