"""Seeded weights under the names of real ones, which cannot be downloaded where the tests run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict
from urllib.parse import urlparse

import torch
import torchvision.models as zoo

_OPTIONS: Dict[str, Dict[str, Any]] = {
    "googlenet": {"init_weights": False, "aux_logits": True},
    "inception_v3": {"init_weights": False, "aux_logits": True},
}


def file_name(weights: Any) -> str:
    """The name under which torchvision's weights are kept."""
    return Path(urlparse(weights.url).path).name


def seed_weights(folder: Path, name: str, weights: str = "DEFAULT") -> Path:
    """Write what a training might have left, as torchvision publishes it, and return the file."""
    enum = zoo.get_model_weights(name)
    chosen = enum[weights] if weights != "DEFAULT" else enum.DEFAULT
    options = dict(_OPTIONS.get(name, {}))
    if name.startswith("vgg"):
        options["init_weights"] = False
    if name.startswith("vit_"):
        options["image_size"] = chosen.meta["min_size"][0]
    torch.manual_seed(0)
    module = zoo.get_model(name, weights=None, **options)
    size = chosen.transforms().crop_size[0]
    images = torch.rand(4, 3, size, size)
    if name == "inception_v3":
        # -1 to 1, as it wants its pixels; and smooth, because of noise the channels' means are so much larger
        # than their deviations that onnxruntime 1.19, which folds the norms, computes something else.
        images = torch.nn.functional.interpolate(
            2 * torch.rand(4, 3, 9, 9) - 1, (size, size), mode="bilinear"
        )
    spread_out(module, images)
    state = module.state_dict()
    if name.startswith("densenet"):
        # Its published checkpoints still have a dot in their layers' names, and norms that do not count.
        state = {
            re.sub(r"(layer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value
            for key, value in state.items()
            if not key.endswith("num_batches_tracked")
        }
        assert any("norm.1" in key for key in state)
    path = folder / file_name(chosen)
    # The published files of 2017 are in the format from before torch 1.6.
    torch.save(state, path, _use_new_zipfile_serialization=not name.startswith("densenet"))
    return path


def spread_out(module: torch.nn.Module, images: torch.Tensor) -> None:
    """Make an untrained network's answers depend on the image, and be as sure as a trained one's."""
    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        if norms:
            for norm in norms:
                norm.momentum = 1.0  # the statistics of these images, as of a training's last ones
            module.train()
            module(images)
        last = [part for part in module.modules() if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear))][-1]
        last.weight.normal_()
        last.weight *= 3 / module.eval()(images).std()
