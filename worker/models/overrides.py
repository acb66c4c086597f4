"""What a user says of a model beside its name: labels, hash, preprocessing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Optional

from labels import read_labels
from wire.choice import ModelChoice
from wire.errors import SettingsError
from worker.decode.preprocessing import SCALINGS, Preprocessing
from worker.models.info import Model
from worker.models.weights import sha256_of


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
    return model.model_copy(update={"classes": classes, "named": True})
