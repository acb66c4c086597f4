"""The pretrained models that have a name: torchvision's, and one whose weights install with pip.

efficientnet_lite0    needs no network
torchvision's         every classification model of the installed release; `densenet`, `inception` and
                      `mobilenet` are short for what the tutorials call so
"""

from __future__ import annotations

import difflib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch
import torchvision.models
from torchvision.models import get_model, get_model_weights, list_models

from wire.errors import SettingsError
from wire.model_choice import is_checkpoint
from worker.decode.preprocessing import SCALINGS, Preprocessing
from worker.models.checkpoint import advice
from worker.models.info import ALIASES, EFFICIENTNET_LITE0
from worker.models.weights import EFFICIENTNET_LITE0_INSTALL, efficientnet_lite0_file, file_of

# torchvision's weights of these want pixels from -1 to 1: its builder adds a conversion from ImageNet's
# scaling (transform_input), which is left out here: the recipe says it. One trained from scratch has none.
SYMMETRIC = ("googlenet", "inception_v3")
_INCEPTION = {"init_weights": False, "aux_logits": False, "transform_input": False}


def names() -> List[str]:
    """The canonical name of every model, in order."""
    return sorted([EFFICIENTNET_LITE0, *list_models(module=torchvision.models)])


def canonical(name: str) -> str:
    """The canonical name of a model, whatever its case, and whether it is given by an alias.

    Raises:
        SettingsError: there is no such model.
    """
    known = names()
    lower = ALIASES.get(name.lower(), name.lower())
    if lower in known:
        return lower
    about = advice.about_name(name) if name.strip() else None
    if about is not None:
        raise SettingsError(about)
    close = difflib.get_close_matches(name.lower(), [*known, *ALIASES], n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise SettingsError(f"unknown model {name!r}: {hint}`nanofleet models list` shows all {len(known)}")


def weights_of(name: str) -> List[Any]:
    """Weights of torchvision's, of a canonical name, the default first; only those with a classifier."""
    enum = get_model_weights(name)
    # VGG-16 has weights without a classifier, for others to build on.
    usable = [weights for weights in enum if weights.meta.get("categories")]
    return sorted(usable, key=lambda weights: weights is not enum.DEFAULT)


def find_weights(name: str, weights: str) -> Any:
    """Weights of torchvision's, by model and name, in either case; empty or `DEFAULT` for the default.

    Raises:
        SettingsError: there are no such weights.
    """
    usable = weights_of(name)
    if weights.upper() in ("", "DEFAULT"):
        return usable[0]
    for known in usable:
        if known.name == weights.upper():
            return known
    listed = ", ".join(known.name for known in usable)
    raise SettingsError(
        f"{name} has no weights {weights!r}: there are {listed}. (There is no file of that name either.)"
    )


def file_name(model: str) -> Optional[str]:
    """The name of the file of a NAME or NAME@WEIGHTS, wherever it lies; None of an own checkpoint.

    Raises:
        SettingsError: there is no such model, or it has no such weights.
    """
    given, weights = split(model)
    if is_checkpoint(weights):
        return None
    name = canonical(given)
    if name == EFFICIENTNET_LITE0:
        return Path(efficientnet_lite0_file()).name
    return file_of(find_weights(name, weights).url)


def preprocessing_of(weights: Any) -> Preprocessing:
    """The recipe that torchvision's weights were trained with."""
    recipe = weights.transforms()
    mean, std = tuple(recipe.mean), tuple(recipe.std)
    # The class of its weights is named after the architecture.
    if type(weights).__name__ in ("GoogLeNet_Weights", "Inception_V3_Weights"):
        mean, std = SCALINGS["symmetric"]
    return Preprocessing(
        resize=recipe.resize_size[0],
        crop=recipe.crop_size[0],
        interpolation=recipe.interpolation.value,
        mean=mean,
        std=std,
    )


def build(name: str, classes: int, image_size: Optional[int] = None) -> torch.nn.Module:
    """An architecture without weights, as torchvision's builders make it for a checkpoint.

    Args:
        name: canonical.
        classes: outputs of its last layer.
        image_size: pixels of its square input, which vision transformers are built for.

    Raises:
        SettingsError: its package is not installed.
    """
    if name == EFFICIENTNET_LITE0:
        return _efficientnet_lite0(classes)
    options: Dict[str, Any] = {}
    if name in SYMMETRIC:
        options = dict(_INCEPTION)
    elif name.startswith("vgg"):
        options["init_weights"] = False
    elif name.startswith("vit_") and image_size:
        options["image_size"] = image_size
    elif name.startswith("maxvit") and image_size:
        options["input_size"] = (image_size, image_size)
    module: torch.nn.Module = get_model(name, weights=None, num_classes=classes, **options)
    return module


def outline(name: str) -> Optional[torch.nn.Module]:
    """An architecture of ten classes without numbers, quickly built; None where PyTorch cannot do that."""
    if name == EFFICIENTNET_LITE0 or not hasattr(torch.device, "__enter__"):
        return None
    try:
        with torch.device("meta"):
            return build(name, 10)
    except NotImplementedError:  # it computes its widths with tensors, as RegNet
        return None


def _efficientnet_lite0(classes: int) -> torch.nn.Module:
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise SettingsError(EFFICIENTNET_LITE0_INSTALL) from error
    module: torch.nn.Module = EfficientNet.from_name("efficientnet-lite0", num_classes=classes)
    return module


#: Its recipe, as its package's documentation gives it.
EFFICIENTNET_LITE0_PREPROCESSING = Preprocessing(resize=256, crop=224)


def facts(weights: Any) -> Dict[str, Any]:
    """Torchvision's facts on some weights; None for what this release does not say.

    Top-1 in percent on ImageNet-1k; floating point operations in GFLOPs (multiply-adds count once); the size
    of the file in MB; pixels of the square input.
    """
    meta = weights.meta
    metrics = meta.get("_metrics", {}).get("ImageNet-1K", {})
    recipe = preprocessing_of(weights)
    return {
        "weights": weights.name,
        "top1": metrics.get("acc@1"),
        "parameters": meta.get("num_params"),
        "gflops": meta.get("_ops"),
        "megabytes": meta.get("_file_size"),
        "pixels": recipe.crop,
        "classes": len(meta["categories"]),
        "recipe": meta.get("recipe"),
        "license": meta.get("license"),
        "url": weights.url,
        "preprocessing": asdict(recipe),
    }


def efficientnet_lite0_facts() -> Dict[str, Any]:
    """The same of efficientnet_lite0; GFLOPs from its authors' table (tensorflow/tpu, efficientnet/lite)."""
    return {
        "weights": "IMAGENET1K_V1",
        "top1": None,
        "parameters": 4_652_008,
        "gflops": 0.407,
        "megabytes": 18.0,
        "pixels": EFFICIENTNET_LITE0_PREPROCESSING.crop,
        "classes": 1000,
        "recipe": None,
        "license": None,
        "url": Path(efficientnet_lite0_file()).as_uri(),
        "preprocessing": asdict(EFFICIENTNET_LITE0_PREPROCESSING),
    }


def split(model: str) -> Tuple[str, str]:
    """NAME@WEIGHTS in its two parts; the second is empty where there is none."""
    name, _, weights = model.partition("@")
    return name, weights
