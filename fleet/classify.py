"""Images on this machine, classified without a broker."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Dict, Sequence, Union

import numpy as np

from wire.decoder.decoder import Decoder
from wire.picture.errors import Undecodable
from wire.printable import show
from worker.decode.decoder import Limits, decoder_for
from worker.decode.preprocessing import Preprocessing
from worker.engines.base import Engine, top_k
from worker.engines.select import open_model
from worker.engines.trial import tried
from worker.errors import NotANumber
from worker.models.info import Model
from worker.settings import ClassifySettings

#: Seconds for one image: nobody else waits, and a large one on a slow machine is still an image.
DECODER_TIMEOUT = 60.0


def classify(settings: ClassifySettings) -> int:
    """Print what a model sees in each image.

    One that cannot be read or decoded is named on stderr, and the others go on. With `json_`, each gets one
    JSON line, also one that failed, and nothing else is on stdout.

    Returns:
        The exit code: 0 if every image was classified, else 1.

    Raises:
        NanofleetError: the model, its labels, the engine, the device or a process is not to be had.
    """
    how: Dict[str, Any] = {
        "engine": settings.engine,
        "device": settings.device,
        "max_batch": 1,
        "weights_dir": settings.weights_dir,
    }
    trial = tried(settings.choice, trusted=settings.sha256 is not None, seconds=settings.trial_timeout, **how)
    with trial as choice:
        model, engine = open_model(
            choice, precision=settings.precision, calibration=settings.calibration, **how
        )
    engine.warm_up()
    if not settings.json_:
        _print_settings(model, engine)
    exit_code = 0
    limits = Limits(timeout=DECODER_TIMEOUT, exact=settings.decode == "exact")
    with decoder_for(model.preprocessing, limits) as decoder:
        for path in settings.images:
            try:
                answer = _classify_file(path, model, decoder, engine, settings.top_k)
            except (OSError, Undecodable, NotANumber) as error:
                exit_code = 1
                answer = _failure(path, error)
                show(f"{path}: {answer['error']}: {answer['detail']}", file=sys.stderr)
            if settings.json_:
                print(json.dumps(answer), flush=True)
            elif "error" not in answer:
                _print_answer(answer)
    return exit_code


def _failure(path: Path, error: Union[OSError, Undecodable, NotANumber]) -> Dict[str, Any]:
    if isinstance(error, Undecodable):
        return {"image": str(path), "error": error.reason, "detail": error.detail}
    if isinstance(error, NotANumber):
        return {"image": str(path), "error": error.reason.value, "detail": str(error)}
    return {"image": str(path), "error": "unreadable", "detail": error.strerror or str(error)}


def _classify_file(
    path: Path, model: Model, decoder: Decoder, engine: Engine, how_many: int
) -> Dict[str, Any]:
    decoded = decoder.decode(path.read_bytes())
    ready = time.perf_counter()
    pixels = np.frombuffer(decoded.memory, np.uint8).reshape(1, *model.preprocessing.shape)
    probabilities = engine.infer(pixels)
    done = time.perf_counter()
    top = [
        {"label": model.classes[index], "index": index, "confidence": confidence}
        for index, confidence in top_k(probabilities[0], how_many)
    ]
    return {
        "image": str(path),
        "model": model.name,
        "weights": model.weights,
        **top[0],
        "top": top,
        "labels": model.seen(probabilities[0]),
        "width": decoded.width,
        "height": decoded.height,
        "complete": decoded.complete,
        "timings_ms": {
            "decode": round(decoded.milliseconds, 3),
            "inference": round((done - ready) * 1000, 3),
        },
    }


def _print_settings(model: Model, engine: Engine) -> None:
    recipe = model.preprocessing
    show(f"model          {model.name}, weights {model.weights}")
    show(f"engine         {engine.name} on {engine.device} ({engine.why})")
    show(f"preprocessing  {_fit(recipe)}, {recipe.channels},")
    show(f"               mean {_triple(recipe.mean)}, std {_triple(recipe.std)}")
    show(f"classes        {len(model.classes)}, activation {model.activation}")


def _fit(recipe: Preprocessing) -> str:
    height, width, _ = recipe.shape
    size = f"{width} x {height}" if width != height else str(height)
    if recipe.fit == "crop":
        return f"resize {recipe.resize} ({recipe.interpolation}), crop {size}"
    return f"{recipe.fit} to {size} ({recipe.interpolation})"


def _triple(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _print_answer(answer: Dict[str, Any]) -> None:
    times = answer["timings_ms"]
    part = "" if answer["complete"] else ", a part of it missing"
    size = f"{answer['width']}x{answer['height']}{part}"
    took = f"decode {times['decode']:.1f} ms, inference {times['inference']:.1f} ms"
    print()
    show(f"{answer['image']}  {size}  {took}")
    if answer["labels"] is not None:
        show(f"  seen: {', '.join(answer['labels']) or 'nothing'}")
    for candidate in answer["top"]:
        show(f"  {candidate['confidence']:7.2%}  {candidate['label']}")
