"""ONNX files that say themselves how they are served: what `nanofleet models export` writes into one, read.

metadata_props["nanofleet.model"] = {"format": 1, "name": ..., "classes": [...], "preprocessing": {...}, ...}

Such a file may be by anyone, as any other: what it says has bounds, and its graph must take what it says.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Dict, Literal, Optional, Tuple

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Annotated

from wire.errors import SettingsError
from wire.lengths import MAX_NAME, Name, Sentence
from wire.messages import explain
from wire.model_choice import ModelChoice, is_published
from wire.printable import cut
from worker.decode.preprocessing import Preprocessing
from worker.engines.onnx.input import Input
from worker.engines.onnx.recipe import BYTES_TAKEN
from worker.models.info import Model
from worker.models.overrides import overridden, squeezed, squeezes

KEY = "nanofleet.model"
#: Of what stands there: a new number where an older release would misread it.
FORMAT = 1
#: Characters of it, classes, and pixels of a side, at most.
MAX_TEXT, MAX_CLASSES, MAX_SIDE = 8 << 20, 100_000, 4096


#: In a name: what a terminal obeys, and halves of characters.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_AGAIN = "export it again with `nanofleet models export`"


def _bounded(recipe: Preprocessing) -> Preprocessing:
    if not 1 <= recipe.resize <= MAX_SIDE or max(recipe.shape) > MAX_SIDE:
        raise ValueError(f"resize and crop: sides of 1 to {MAX_SIDE} pixels")
    # Finite, and neither an overflow nor a division by 0 when pixels are normalised.
    if not all(math.isfinite(each) and abs(each) < 1e6 for each in recipe.mean):
        raise ValueError("mean: each below 1000000")
    if not all(1e-6 < each < 1e6 for each in recipe.std):
        raise ValueError("std: each above 0.000001 and below 1000000")
    return recipe


def _readable(name: str) -> str:
    if not name.strip() or _CONTROL.search(name):
        raise ValueError(f"a name is not empty, and has no control characters: {name!r}")
    return name


def _all_readable(names: Tuple[str, ...]) -> Tuple[str, ...]:
    return tuple(map(_readable, names))  # one error for the whole field, not one for each name


class Description(BaseModel):
    """The description that such a file carries."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1]
    #: The model that it was exported from, as everything else names it, and the SHA-256 of its weights.
    name: Annotated[Name, AfterValidator(_readable)]
    weights: Annotated[Name, AfterValidator(_readable)]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    classes: Annotated[
        Tuple[Name, ...], Field(min_length=1, max_length=MAX_CLASSES), AfterValidator(_all_readable)
    ]
    preprocessing: Annotated[Preprocessing, AfterValidator(_bounded)]
    #: The activation that the graph has done already.
    activation: Literal["softmax", "sigmoid", "none"]
    multi_label: bool
    threshold: float = Field(ge=0, le=1)
    #: The program that has made it: a sentence for people.
    origin: Sentence

    @model_validator(mode="after")
    def _agrees(self) -> Description:
        if self.activation == "softmax" and len(self.classes) == 1:
            raise ValueError("activation: the softmax of a single class is 1 whatever is seen")
        if self.multi_label and (self.activation == "softmax" or len(self.classes) == 1):
            raise ValueError("multi_label: of a softmax, or of one class, several cannot be true at once")
        return self

    @classmethod
    def of(cls, model: Model, origin: str) -> Description:
        """The description that a file of a model is to carry.

        Raises:
            ValidationError: it is nothing that a file can say.
        """
        says = {name: getattr(model, name) for name in _SHARED}
        says["classes"] = tuple(cut(name, MAX_NAME) for name in model.classes)
        return cls(format=FORMAT, origin=origin, **says)

    def recipe(self, path: Path, wanted: Input, choice: ModelChoice) -> Tuple[Preprocessing, Tuple[str, ...]]:
        """The recipe, with what the flags say instead, and what there is to say of them.

        Raises:
            SettingsError: the graph takes something else; or the flags ask for what it does not take.
        """
        recipe = self.preprocessing
        sides = (wanted.height, wanted.width, wanted.channels)
        if wanted.dtype != np.uint8 or wanted.channels_first or sides != recipe.shape:
            raise SettingsError(
                f"{path} says that it takes {recipe.shape[1]} x {recipe.shape[0]} pixels of "
                f"{recipe.shape[2]} channels, a byte each, and its graph takes something else: {_AGAIN}"
            )
        if choice.crop not in (None, recipe.crop):
            raise SettingsError(
                f"--crop {choice.crop}: {path} takes images of {recipe.shape[1]} x {recipe.shape[0]} pixels"
            )
        if choice.channels not in (None, recipe.channels):
            raise SettingsError(
                f"--channels {choice.channels}: {path} takes {recipe.channels}, and its mean and deviation "
                "are in its graph in that order: export it with --channels instead"
            )
        normalised = choice.scaling or choice.mean or choice.std
        fitting = choice.model_copy(update={"scaling": None, "mean": None, "std": None})
        recipe = overridden(recipe, fitting)
        notes = [BYTES_TAKEN] if normalised else []
        if squeezes(choice, recipe.crop) and not is_published(self.weights):
            recipe = replace(recipe, fit="squeeze")
            notes.append(squeezed(recipe.crop))
        return recipe, tuple(notes)

    def to_do(self, path: Path, choice: ModelChoice) -> str:
        """The activation that is still to be done.

        Raises:
            SettingsError: the flags ask for another activation than the graph has done.
        """
        if self.activation == "none":
            return choice.activation or "none"
        if choice.activation not in (None, "none", self.activation):
            raise SettingsError(
                f"--activation {choice.activation}: {path} was exported with {self.activation}, which "
                "cannot be taken back: leave --activation out, or export it with another"
            )
        return "none"

    def check_graph(self, path: Path, values: Optional[str], outputs: int) -> None:
        """See that the graph gives what is said.

        Args:
            path: the file.
            values: how the graph ends; see `worker.engines.onnx.graph.outputs.Ending`.
            outputs: the numbers that it gives.

        Raises:
            SettingsError: it gives something else.
        """
        if outputs != len(self.classes) and (outputs, len(self.classes)) != (1, 2):
            raise SettingsError(f"{path} names {len(self.classes)} classes, and gives {outputs} numbers")
        if values is not None and self.activation != ("none" if values == "logits" else values):
            raise SettingsError(
                f"{path}: activation in its {KEY} is {self.activation}, and its graph ends with {values}: "
                f"{_AGAIN}"
            )
        if self.multi_label and outputs == 1:
            raise SettingsError(
                f"{path}: multi_label in its {KEY} is true, and it gives one number: {_AGAIN}"
            )

    def model(self, sha256: str, recipe: Preprocessing, assumed: Tuple[str, ...]) -> Model:
        """The model: called as the one that it was exported from, and with the file's own hash."""
        says = {name: getattr(self, name) for name in _SHARED}
        says.update(sha256=sha256, preprocessing=recipe)
        return Model(own_names=self.classes, assumed=assumed, **says)


#: The fields that a file describes in a Model's own words.
_SHARED = [name for name in Description.model_fields if name in Model.model_fields]


def description_of(path: Path, metadata: Dict[str, str]) -> Optional[Description]:
    """The description in a file, if `nanofleet models export` has written one.

    Raises:
        SettingsError: it is damaged, or of a later release.
    """
    text = metadata.get(KEY)
    if text is None:
        return None
    if len(text) > MAX_TEXT:
        raise SettingsError(f"{path}: {KEY} in its metadata has more than {MAX_TEXT} characters: {_AGAIN}")
    try:
        return Description.model_validate_json(text)
    except ValidationError as error:
        raise SettingsError(
            f"{path}: {KEY} in its metadata cannot be used ({explain(error)}): {_AGAIN}, by a release of "
            "nanofleet that is not newer than this one"
        ) from None
