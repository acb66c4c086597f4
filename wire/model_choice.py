"""Which model a worker runs: declared once, for its flags, its file and the control topic alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, List, Optional, Tuple

from pydantic import BaseModel, BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict
from typing_extensions import Annotated, Literal

#: What torchvision calls its weights, in either case: never a file, whatever lies around.
_WEIGHTS = re.compile(r"(default|imagenet\w*)?", re.IGNORECASE)
#: What might be their name, where there is no such file.
_WORD = re.compile(r"\w+", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _split(value: object) -> object:
    values = value.split(",") if isinstance(value, str) else value
    if isinstance(values, (list, tuple)) and len(values) != 3:
        raise ValueError(f"three numbers, for red, green and blue, not {len(values)}")
    return values


def is_published(weights: str) -> bool:
    """Whether weights are called as torchvision calls its own, which no checkpoint is."""
    return bool(_WEIGHTS.fullmatch(weights))


def is_checkpoint(weights: str) -> bool:
    """Whether what follows the @ of NAME@… is a file; else it is the name of some weights.

    A file may have any name; a single word only if it exists.
    """
    if is_published(weights):
        return False
    # A longer name no file system has; asking for it would be an error.
    return not _WORD.fullmatch(weights) or (len(weights) < 256 and Path(weights).exists())


#: Of red, green and blue: `--mean 0.5,0.5,0.5`, or a list of three in a file.
Triple = Annotated[Tuple[float, float, float], NoDecode, BeforeValidator(_split)]


class ModelChoice(BaseModel):
    """A model, its weights, the names of its classes and the preprocessing it was trained with.

    Settings that are not given are taken from the weights' own metadata.
    """

    # As Settings has it, because settings derive from both.
    model_config = SettingsConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = Field(
        "mobilenet_v2",
        min_length=1,
        max_length=4096,
        description="Model to run: NAME (see `nanofleet models list`), NAME@WEIGHTS as "
        "resnet50@IMAGENET1K_V2, NAME@FILE with your own checkpoint, or FILE.onnx",
    )
    labels: Optional[Path] = Field(
        None,
        description="File with the class names: one a line, or as the training wrote them (JSON, CSV, YAML)",
    )
    sha256: Optional[str] = Field(None, description="SHA-256 that the weights' file must have")
    resize: Optional[int] = Field(
        None,
        ge=1,
        le=4096,
        description="Pixels of the short side before the crop (default: the weights' own)",
    )
    crop: Optional[int] = Field(
        None,
        ge=1,
        le=4096,
        description="Pixels of the square the model sees (default: the weights' own)",
    )
    interpolation: Optional[Literal["bilinear", "bicubic"]] = Field(
        None, description="How to resize (default: the weights' own)"
    )
    mean: Optional[Triple] = Field(
        None, description="Mean of red, green and blue, of 0 to 1, as 0.5,0.5,0.5 (default: the weights' own)"
    )
    std: Optional[Triple] = Field(
        None, description="Standard deviation of red, green and blue (default: the weights' own)"
    )

    scaling: Optional[Literal["imagenet", "unit", "symmetric", "bytes"]] = Field(
        None,
        description="What pixels become: imagenet subtracts its mean and divides by its deviation, "
        "unit is 0 to 1, symmetric -1 to 1, bytes 0 to 255 (default: what the weights or the file say)",
    )
    channels: Optional[Literal["rgb", "bgr", "gray"]] = Field(
        None, description="Order of the channels (default: rgb; gray where the file has one)"
    )
    fit: Optional[Literal["crop", "squeeze", "pad"]] = Field(
        None,
        description="How an image is brought into the model's shape: crop cuts the centre out, squeeze "
        "distorts the whole image, pad puts bars around it (default: what the file says, else crop; squeeze "
        "where --resize alone is given, and is the side of the model's square)",
    )
    activation: Optional[Literal["softmax", "sigmoid", "none"]] = Field(
        None,
        description="What makes probabilities of the outputs: softmax (one class of several), sigmoid (each "
        "class by itself), none (they are probabilities) (default: what the file says)",
    )
    threshold: Optional[float] = Field(
        None,
        ge=0,
        le=1,
        description="Confidence from which on a class counts as seen, where several may be (default: what "
        "the file says, else 0.5)",
    )
    state_key: Optional[str] = Field(
        None, description="Which of a checkpoint's state dicts, as model_ema (default: the one that fits)"
    )

    @field_validator("sha256")
    @classmethod
    def _is_a_hash(cls, sha256: Optional[str]) -> Optional[str]:
        if sha256 is not None and not _SHA256.fullmatch(sha256.lower()):
            raise ValueError(f"64 hexadecimal digits, as sha256sum prints them, not {sha256!r}")
        return sha256 and sha256.lower()

    @field_validator("std")
    @classmethod
    def _is_divided_by(cls, std: Optional[Triple]) -> Optional[Triple]:
        if std is not None and min(std) <= 0:
            raise ValueError("each more than 0: pixels are divided by them")
        return std

    @property
    def choice(self) -> ModelChoice:
        """The ModelChoice alone, without the settings beside it."""
        return ModelChoice(**{name: getattr(self, name) for name in ModelChoice.model_fields})

    @property
    def files(self) -> List[Path]:
        """The files that it names."""
        _, file = self._parts(is_checkpoint)
        return ([Path(file)] if file else []) + ([self.labels] if self.labels else [])

    def below(self, folder: Path) -> ModelChoice:
        """The same choice, with its files looked for in a folder.

        Raises:
            ValueError: one of them lies, or might lie, elsewhere.
        """
        # Even a word that is no file yet: it must not become one elsewhere.
        before, file = self._parts(lambda weights: not is_published(weights))
        model = before + (_within(folder, file) if file else "")
        labels = self.labels and Path(_within(folder, str(self.labels)))
        return self.model_copy(update={"model": model, "labels": labels})

    def _parts(self, is_file: Callable[[str], bool]) -> Tuple[str, str]:
        """What stands before the file that the model names, and that file; without one, all and nothing."""
        if self.model.lower().endswith(".onnx"):
            return "", self.model
        name, _, weights = self.model.partition("@")
        return (f"{name}@", weights) if is_file(weights) else (self.model, "")


def _within(folder: Path, name: str) -> str:
    # Resolved, so that a link in the folder leads nowhere else either.
    path = (folder / name).resolve()
    if Path(name).is_absolute() or folder.resolve() not in path.parents:
        raise ValueError(f"{name} is not a file below the worker's weights folder")
    return str(path)
