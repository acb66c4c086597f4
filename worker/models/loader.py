"""Loads a model with PyTorch: by name, by name and weights, or a checkpoint of one's own.

NAME, NAME@WEIGHTS ──> catalog ──> weights, downloaded once ──┐
NAME@FILE ─────────────────────────────────────────────────────┴──> checkpoint ──> (Model, module)
"""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import torch

from labels import IMAGENET_1K, read_labels
from wire.choice import CHECKPOINT_SUFFIXES, ModelChoice
from wire.errors import SettingsError
from worker.models import catalog
from worker.models.checkpoint import classes_in, fill, read_state
from worker.models.info import Model
from worker.models.overrides import check_sha256, overridden
from worker.models.weights import fetch


def load_model(choice: ModelChoice, weights_dir: Path) -> Tuple[Model, torch.nn.Module]:
    """Load a model.

    Args:
        choice: which; a NAME, NAME@WEIGHTS or NAME@FILE. Its labels are the caller's business.
        weights_dir: where downloaded weights are kept.

    Returns:
        The model and its module: float32 [N, 3, crop, crop], normalised -> float32 logits [N, classes]; on
        the CPU, in eval mode, without gradients.

    Raises:
        SettingsError: no such model or weights; a file that is not what it should be; the preprocessing is
            impossible.
        NanofleetError: the weights are neither here nor to be had.
    """
    given, weights = catalog.split(choice.model)
    name = catalog.canonical(given)
    if weights.endswith(CHECKPOINT_SUFFIXES):
        return _own(name, Path(weights), choice)
    if name == catalog.EFFICIENTNET_LITE0:
        return _efficientnet_lite0(weights, choice)
    return _torchvision(name, weights, choice, weights_dir)


def _torchvision(
    name: str, weights_name: str, choice: ModelChoice, weights_dir: Path
) -> Tuple[Model, torch.nn.Module]:
    weights = catalog.find_weights(name, weights_name)
    recipe = catalog.preprocessing_of(weights)
    classes = tuple(weights.meta["categories"])
    path = fetch(weights.url, weights_dir)
    sha256 = check_sha256(path, choice.sha256)
    try:
        # A vision transformer is built for its weights' size of image.
        module = fill(catalog.build(name, len(classes), recipe.crop), read_state(path), path)
    except SettingsError as error:
        raise SettingsError(f"{error}\nDelete it, and it is fetched again from {weights.url}") from error
    model = Model(
        name=name,
        weights=weights.name,
        sha256=sha256,
        classes=classes,
        preprocessing=overridden(recipe, choice),
    )
    return model, module


def _efficientnet_lite0(weights: str, choice: ModelChoice) -> Tuple[Model, torch.nn.Module]:
    if weights.upper() not in ("", "DEFAULT", "IMAGENET1K_V1"):
        raise SettingsError(f"efficientnet_lite0 has no weights {weights!r}: there are IMAGENET1K_V1")
    path = Path(catalog.efficientnet_lite0_file())
    classes = read_labels(IMAGENET_1K)
    model = Model(
        name=catalog.EFFICIENTNET_LITE0,
        weights="IMAGENET1K_V1",
        sha256=check_sha256(path, choice.sha256),
        classes=classes,
        preprocessing=overridden(catalog.EFFICIENTNET_LITE0_PREPROCESSING, choice),
    )
    module = fill(catalog.build(model.name, len(classes)), read_state(path), path)
    return model, module


def _own(name: str, path: Path, choice: ModelChoice) -> Tuple[Model, torch.nn.Module]:
    sha256 = check_sha256(path, choice.sha256)  # before anything looks into it
    state = read_state(path)
    if name == catalog.EFFICIENTNET_LITE0:
        recipe, names = catalog.EFFICIENTNET_LITE0_PREPROCESSING, read_labels(IMAGENET_1K)
    else:
        default = catalog.find_weights(name, "")
        recipe, names = catalog.preprocessing_of(default), tuple(default.meta["categories"])
    recipe = overridden(recipe, choice)
    outputs = classes_in(state, catalog.build(name, len(names), recipe.crop), path)
    model = Model(
        name=name,
        weights=path.name,
        sha256=sha256,
        classes=names if outputs == len(names) else tuple(map(str, range(outputs))),
        named=outputs == len(names),
        preprocessing=recipe,
    )
    return model, fill(catalog.build(name, outputs, recipe.crop), state, path)
