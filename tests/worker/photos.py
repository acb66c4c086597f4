"""scikit-image's photos, as a model wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Dict

import numpy as np
import skimage
from numpy.typing import NDArray

from worker.decode.image import decode
from worker.decode.preprocessing import Preprocessing

FOLDER = Path(skimage.__file__).parent / "data"
#: What efficientnet_lite0 calls what they show.
PHOTOS: Dict[str, str] = {
    "coffee.png": "espresso",
    "rocket.jpg": "missile",
    "chelsea.png": "Egyptian cat",
    "motorcycle_left.png": "moped",
}


def crops(preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """uint8 [4, crop, crop, 3]: the photos, decoded exactly."""
    decoded = [decode((FOLDER / name).read_bytes(), preprocessing, 10**8, exact=True) for name in PHOTOS]
    return np.stack([np.frombuffer(image.pixels, np.uint8).reshape(preprocessing.shape) for image in decoded])
