"""How the tutorials classify a picture: Pillow, torchvision's transforms, the module."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import torch
from PIL import Image
from torchvision import transforms

from wire.model_choice import ModelChoice
from worker.decode.preprocessing import Preprocessing
from worker.models.info import Model
from worker.models.loader import load_model

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def transform_of(recipe: Preprocessing) -> Callable[[Image.Image], torch.Tensor]:
    """An image to float32 [3, crop, crop], as the weights want it."""
    steps: Any = transforms.Compose(
        [
            transforms.Resize(recipe.resize),
            transforms.CenterCrop(recipe.crop),
            transforms.ToTensor(),
            transforms.Normalize(recipe.mean, recipe.std),
        ]
    )
    transform: Callable[[Image.Image], torch.Tensor] = steps
    return transform


def load_module(model: str, weights_dir: str) -> Tuple[Model, torch.nn.Module]:
    """A model and its module, on the device that PyTorch finds."""
    opened, module = load_model(ModelChoice(model=model), Path(weights_dir))
    return opened, module.to(DEVICE)


def load_classifier(model: str, weights_dir: str) -> Callable[[bytes], Dict[str, Any]]:
    """A function from a JPEG to its label and confidence."""
    opened, module = load_module(model, weights_dir)
    transform = transform_of(opened.preprocessing)

    def classify(jpeg: bytes) -> Dict[str, Any]:
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
        with torch.no_grad():
            probabilities = module(transform(image).unsqueeze(0).to(DEVICE)).softmax(1)[0]
        confidence, index = probabilities.max(0)
        return {"label": opened.classes[int(index)], "confidence": float(confidence)}

    return classify
