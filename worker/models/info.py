"""A model as everything but its engine sees it."""

from __future__ import annotations

from typing import Literal, Optional, Tuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from worker.decode.preprocessing import Preprocessing

#: Short names, as commonly used, and torchvision's.
ALIASES = {"densenet": "densenet121", "inception": "inception_v3", "mobilenet": "mobilenet_v2"}
#: The one whose weights are a package.
EFFICIENTNET_LITE0 = "efficientnet_lite0"


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
    #: The names that the file itself carries, where it does: a label file is compared with them.
    own_names: Tuple[str, ...] = ()
    preprocessing: Preprocessing
    #: What makes probabilities of the outputs: `softmax` for one class of several, `sigmoid` for each class
    #: by itself, `none` where they are probabilities already.
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    #: Whether several classes may be true at once.
    multi_label: bool = False
    #: The confidence from which on a class of a multi-label model counts as seen.
    threshold: float = 0.5
    #: Assumptions, where the file says nothing: a sentence each, with the setting that says otherwise.
    assumed: Tuple[str, ...] = ()

    @property
    def seen_from(self) -> Optional[float]:
        """The probability from which on a label is seen; None if only one can be."""
        return self.threshold if self.multi_label else None

    def seen(self, probabilities: NDArray[np.float32]) -> Optional[Tuple[str, ...]]:
        """All labels that are seen, best first, by float32 [classes]; None if only one can be."""
        if self.seen_from is None:
            return None
        best = np.argsort(-probabilities, kind="stable")
        return tuple(self.classes[index] for index in best if probabilities[index] >= self.seen_from)
