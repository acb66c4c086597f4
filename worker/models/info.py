"""A model as everything but its engine sees it."""

from __future__ import annotations

from typing import Tuple

from pydantic import BaseModel, ConfigDict

from worker.decode.preprocessing import Preprocessing

#: Short names, as commonly used, and torchvision's.
ALIASES = {"densenet": "densenet121", "inception": "inception_v3", "mobilenet": "mobilenet_v2"}


class Model(BaseModel):
    """A classifier, and all that is needed to feed it and to read its answers."""

    model_config = ConfigDict(frozen=True)

    #: Canonical name: `densenet121`, whether asked for as that or as `densenet`.
    name: str
    #: Which weights: `IMAGENET1K_V2`, or the name of a file of one's own.
    weights: str
    #: SHA-256 of the weights' file, 64 hexadecimal digits.
    sha256: str
    #: The name of each output, in order; of a model that nobody has named the outputs of, their numbers.
    classes: Tuple[str, ...]
    named: bool = True
    preprocessing: Preprocessing
