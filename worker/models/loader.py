"""Loads a model with PyTorch: by name, by name and weights, or a checkpoint of one's own.

NAME, NAME@WEIGHTS ──> catalog ──> weights, downloaded once ──┐
NAME@FILE ─────────────────────────────────────────────────────┴──> checkpoint ──> (Model, module)
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Tuple

import torch

from labels import IMAGENET_1K, read_labels
from wire.errors import SettingsError
from wire.model_choice import ModelChoice, is_checkpoint
from worker.models import catalog
from worker.models.checkpoint.beside import class_names, hints
from worker.models.checkpoint.files import open_checkpoint
from worker.models.checkpoint.names import Architecture
from worker.models.checkpoint.read import fill, read_weights
from worker.models.info import EFFICIENTNET_LITE0, Model
from worker.models.overrides import (
    IMAGENET_NAMES,
    activated,
    assumptions,
    check_sha256,
    overridden,
    squeezes,
)
from worker.models.weights import efficientnet_lite0_file, fetch, warn_of_another

log = logging.getLogger(__name__)


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
    if is_checkpoint(weights):
        return _own(name, Path(weights), choice)
    if choice.state_key is not None:
        raise SettingsError(f"--state-key {choice.state_key}: {choice.model} is no checkpoint of your own")
    if name == EFFICIENTNET_LITE0:
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
    if choice.sha256 is None:
        warn_of_another(path, sha256)
    try:
        # A vision transformer is built for its weights' size of image.
        module = catalog.build(name, len(classes), recipe.crop)
        read = read_weights(open_checkpoint(path), Architecture(name, module), path)
        module = fill(module, read.state, path)
    except SettingsError as error:
        raise SettingsError(f"{error}\nDelete it, and it is fetched again from {weights.url}") from error
    model = Model(
        name=name,
        weights=weights.name,
        sha256=sha256,
        classes=classes,
        preprocessing=overridden(recipe, choice),
        **activated(choice, len(classes)),
    )
    return model, module


def _efficientnet_lite0(weights: str, choice: ModelChoice) -> Tuple[Model, torch.nn.Module]:
    if weights.upper() not in ("", "DEFAULT", "IMAGENET1K_V1"):
        raise SettingsError(f"efficientnet_lite0 has no weights {weights!r}: there are IMAGENET1K_V1")
    path = Path(efficientnet_lite0_file())
    classes = read_labels(IMAGENET_1K)
    model = Model(
        name=EFFICIENTNET_LITE0,
        weights="IMAGENET1K_V1",
        sha256=check_sha256(path, choice.sha256),
        classes=classes,
        preprocessing=overridden(catalog.EFFICIENTNET_LITE0_PREPROCESSING, choice),
        **activated(choice, len(classes)),
    )
    module = catalog.build(model.name, len(classes))
    read = read_weights(open_checkpoint(path), Architecture(model.name, module), path)
    return model, fill(module, read.state, path)


def _own(name: str, path: Path, choice: ModelChoice) -> Tuple[Model, torch.nn.Module]:
    sha256 = check_sha256(path, choice.sha256)  # before anything looks into it
    opened = open_checkpoint(path)
    if name == EFFICIENTNET_LITE0:
        recipe, imagenet = catalog.EFFICIENTNET_LITE0_PREPROCESSING, read_labels(IMAGENET_1K)
    else:
        default = catalog.find_weights(name, "")
        recipe, imagenet = catalog.preprocessing_of(default), tuple(default.meta["categories"])
    hinted = hints(opened.root)
    if hinted.fields:
        log.info("%s: preprocessing from the arguments of its training: %s", path, hinted.fields)
    recipe = overridden(replace(recipe, **hinted.fields), choice)
    if not hinted.size and squeezes(choice, recipe.crop):
        recipe = replace(recipe, fit="squeeze")
    architecture = Architecture(name, catalog.build(name, len(imagenet), recipe.crop))
    weights = read_weights(opened, architecture, path, choice.state_key)
    own_names = class_names(opened.root, weights.outputs)
    assumed = [*weights.notes, *assumptions(name, recipe, hinted, choice)]
    if not own_names and weights.outputs == len(imagenet):
        assumed.append(IMAGENET_NAMES)
    model = Model(
        name=name,
        weights=path.name,
        sha256=sha256,
        preprocessing=recipe,
        classes=own_names or (imagenet if IMAGENET_NAMES in assumed else _numbers(weights.outputs)),
        named=bool(own_names) or IMAGENET_NAMES in assumed,
        own_names=own_names,
        assumed=tuple(assumed),
        **activated(choice, weights.outputs),
    )
    return model, fill(catalog.build(name, weights.outputs, recipe.crop), weights.state, path)


def _numbers(outputs: int) -> Tuple[str, ...]:
    return tuple(map(str, range(outputs)))
