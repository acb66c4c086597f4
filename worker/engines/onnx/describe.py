"""Writes what an ONNX file says itself of how it is served; `worker.engines.onnx.described` reads it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from labels import read_labels
from wire import __version__
from wire.errors import SettingsError
from wire.messages import explain
from wire.model_choice import ModelChoice
from worker.decode.preprocessing import Preprocessing
from worker.engines.onnx.described import KEY, MAX_SIDE, MAX_TEXT, Description
from worker.engines.onnx.files import Loaded, load_onnx
from worker.models.info import Model
from worker.models.overrides import overridden


def check_flags(choice: ModelChoice) -> None:
    """See that a file can say what the flags ask for: before an export, which takes a minute.

    Raises:
        SettingsError: it cannot; or the label file is no such file.
    """
    pixels = choice.model_copy(update={"resize": None, "crop": None})
    unknown = {"name": "-", "weights": "-", "sha256": "0" * 64, "activation": "none"}
    classes = read_labels(choice.labels) if choice.labels else ("-",)
    recipe = overridden(Preprocessing(resize=MAX_SIDE, crop=1), pixels)
    _text(choice.model, Model(classes=classes, preprocessing=recipe, **unknown), "-")


def described(graph: Path, model: Model) -> Loaded:
    """An export, as a file that says itself how it is served.

    Args:
        graph: what `worker.engines.exports.cache` has made.
        model: what it is.

    Raises:
        SettingsError: it is nothing that a file can say.
    """
    proto = load_onnx(graph, None).proto
    origin = f"exported by nanofleet {__version__} with {proto.producer_name} {proto.producer_version}"
    entry = proto.metadata_props.add()
    entry.key, entry.value = KEY, _text(f"{model.name}@{model.weights}", model, origin)
    content: bytes = proto.SerializeToString()
    return Loaded(proto, content, hashlib.sha256(content).hexdigest())


def _text(given: str, model: Model, origin: str) -> str:
    try:
        says = Description.of(model, origin)
    except ValidationError as error:
        raise SettingsError(f"{given}: no file can say how it is served: {explain(error)}") from None
    text = says.model_dump_json()
    if len(text) > MAX_TEXT:
        raise SettingsError(
            f"{given}: no file can name its {len(says.classes)} classes, because all that it says has "
            f"{len(text)} characters, and {MAX_TEXT} are the most: give it shorter --labels"
        )
    return text
