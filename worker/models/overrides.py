"""A user's own facts on a model: labels, hash, preprocessing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from labels import read_labels
from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.decode.preprocessing import SCALINGS, Preprocessing
from worker.models.info import Model
from worker.models.weights import sha256_of

if TYPE_CHECKING:  # it imports PyTorch, which a worker with an export at hand does without
    from worker.models.checkpoint.beside import Hints

#: Assumed of a checkpoint that has as many outputs as ImageNet has classes; a label file settles it.
IMAGENET_NAMES = (
    "its outputs are taken for ImageNet's 1000 classes, in their usual order: if not, give --labels"
)


def check_sha256(path: Path, expected: Optional[str]) -> str:
    """The SHA-256 of a file of weights.

    Raises:
        SettingsError: the file cannot be read, or has another one than expected.
    """
    try:
        found = sha256_of(path)
    except OSError as error:
        raise SettingsError(f"weights file {path}: {error.strerror or error}") from error
    if expected is not None and found != expected:
        raise SettingsError(f"{path} has the SHA-256 {found}, and not {expected} as --sha256 demands")
    return found


def overridden(recipe: Preprocessing, choice: ModelChoice) -> Preprocessing:
    """A weights' own preprocessing, with what the user says instead.

    Raises:
        SettingsError: it would crop more than there is; or it says twice what becomes of the pixels.
    """
    fields = ("resize", "crop", "interpolation", "mean", "std", "fit", "channels")
    given = {name: getattr(choice, name) for name in fields if getattr(choice, name) is not None}
    if choice.scaling is not None:
        if choice.mean is not None or choice.std is not None:
            raise SettingsError(
                f"--scaling {choice.scaling} is a mean and a deviation: leave --mean and --std out"
            )
        given["mean"], given["std"] = SCALINGS[choice.scaling]
    try:
        return replace(recipe, **given)
    except ValueError as error:
        raise SettingsError(f"--resize and --crop: {error}") from None


def squeezes(choice: ModelChoice, side: int) -> bool:
    """Whether `--resize` alone means the whole image: it is the side of the model's square itself.

    It is `Resize((224, 224))` that leaves nothing to crop. Who has trained on `Resize(224)` and a crop of as
    much sees the edges as well then, distorted, and is pointed to `--fit crop`.
    """
    return choice.resize == side and choice.crop is None and choice.fit is None


def squeezed(side: int) -> str:
    """The sentence on that, for the user."""
    return (
        f"the whole image is squeezed into its {side} x {side} pixels, because --resize is the model's own "
        "side: --fit crop cuts the centre out"
    )


def activated(choice: ModelChoice, outputs: int) -> Dict[str, Any]:
    """The activation of a checkpoint's outputs, as fields of a Model.

    Raises:
        SettingsError: softmax of a single output, which is 1 whatever is seen.
    """
    if outputs == 1 and choice.activation == "softmax":
        raise SettingsError("--activation softmax: of a single output it is 1 whatever is seen: take sigmoid")
    activation = choice.activation or ("sigmoid" if outputs == 1 else "softmax")
    return {"activation": activation, "multi_label": activation == "sigmoid" and outputs > 1}


def assumptions(name: str, recipe: Preprocessing, hinted: Hints, choice: ModelChoice) -> List[str]:
    """The assumptions on a checkpoint's preprocessing, a sentence each.

    Args:
        name: of its architecture.
        recipe: what it is served with.
        hinted: what the checkpoint itself says.
        choice: what its user says.
    """
    sentences = []
    if not hinted.size and squeezes(choice, recipe.crop):
        sentences.append(squeezed(recipe.crop))
    elif not hinted.size and choice.resize is None and choice.crop is None and choice.fit is None:
        sentences.append(
            f"resize {recipe.resize}, crop {recipe.crop} ({recipe.interpolation}) are assumed, as of "
            f"{name}'s own weights: if it was trained otherwise, say --resize, --crop, --fit or "
            "--interpolation"
        )
    symmetric = (recipe.mean, recipe.std) == SCALINGS["symmetric"]
    transforms = name in ("googlenet", "inception_v3")
    if hinted.scaling or choice.mean is not None or choice.std is not None:
        pass
    elif transforms and choice.scaling == "imagenet":
        sentences.append(
            f"this {name} is taken for one trained from scratch (transform_input=False): if its training "
            "began with torchvision's weights, leave --scaling out"
        )
    elif choice.scaling is None and transforms and symmetric:
        sentences.append(
            f"pixels from -1 to 1 are assumed, as of {name}'s own weights, whose transform_input makes them "
            "so: one trained from scratch on ImageNet's mean and deviation wants --scaling imagenet"
        )
    elif choice.scaling is None:
        sentences.append(
            f"scaling by ImageNet's mean and deviation is assumed, as of {name}'s own weights: if it was "
            "trained otherwise, say --scaling, or --mean and --std"
        )
    return sentences


def relabelled(model: Model, labels: Optional[Path]) -> Model:
    """The model with the class names of a label file, if there is one.

    Raises:
        SettingsError: it is unreadable, or has another number of classes than the model; or there is none,
            and the model's classes have no names either.
    """
    if labels is None:
        if model.named:
            return model
        if len(model.classes) == 1:
            raise SettingsError(
                f"{model.weights} has a single output: name its two classes in a file, one a line, first the "
                "one that 0 means, and give it as --labels (or one name, of what 1 means)"
            )
        raise SettingsError(
            f"{model.weights} has {len(model.classes)} classes: name them in a file, one a line, in the "
            "order of its outputs, and give it as --labels"
        )
    classes = read_labels(labels)
    single = len(model.classes) == 1 and len(classes) == 2  # the other class is the rest
    if len(classes) != len(model.classes) and not single:
        raise SettingsError(
            f"label file {labels}: {len(classes)} classes, but the model has {len(model.classes)} outputs"
        )
    assumed = [sentence for sentence in model.assumed if sentence != IMAGENET_NAMES]
    assumed += _compared(model, classes, labels)
    return model.model_copy(update={"classes": classes, "named": True, "assumed": tuple(assumed)})


def _compared(model: Model, classes: Tuple[str, ...], labels: Path) -> List[str]:
    """Sentences on a label file that differs from the names in the model itself."""
    own = [name.strip().casefold() for name in model.own_names]
    given = [name.strip().casefold() for name in classes]
    single = len(own) == 1 and len(given) == 2  # the own one is what 1 means, and so is the second
    if not own or (given[1:] if single else given) == own:
        return []
    for index, name in enumerate([] if single else given):
        if own.count(name) == given.count(name) == 1 and own.index(name) != index:
            raise SettingsError(
                f"label file {labels}: {classes[index]} is its class {index}, but class {own.index(name)} in "
                f"{model.weights} itself: the same names in another order. Leave --labels out, and the "
                "names in the model are used"
            )
    several = ", ".join(model.own_names[:3]) + (", …" if len(own) > 3 else "")
    return [f"the names in {labels} replace those in {model.weights} itself ({several})"]
