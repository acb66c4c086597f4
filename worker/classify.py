"""Images on this machine, classified without a broker."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Union

import numpy as np

from worker.decoding import Undecodable, decode
from worker.engine import Engine, EngineName, open_engine
from worker.engine import top_k as best
from worker.models import Model, load_model

#: Pixels of an image, at most: the default of the worker's `max_pixels`.
MAX_PIXELS = 64_000_000


def classify(
    paths: Sequence[Path],
    *,
    model: str,
    labels: Optional[Path],
    top_k: int,
    device: str,
    engine: EngineName,
    as_json: bool,
) -> int:
    """Print what a model sees in each image.

    Args:
        paths: image files. One that cannot be read or decoded is named on stderr, and the others go on.
        model: a name that `load_model` knows.
        labels: a file with other class names than the model's own.
        top_k: candidates to print for each image.
        device: as `open_engine` takes it.
        engine: likewise.
        as_json: print one JSON line for each image, also for one that failed, and nothing else on stdout.

    Returns:
        The exit code: 0 if every image was classified, else 1.

    Raises:
        SettingsError: the model, its labels, the engine or the device is not to be had.
    """
    loaded = load_model(model, labels)
    runner = open_engine(loaded, engine=engine, device=device, max_batch=1)
    runner.warm_up()
    if not as_json:
        _print_settings(loaded, runner)
    exit_code = 0
    for path in paths:
        try:
            answer = _classify_file(path, loaded, runner, top_k)
        except (OSError, Undecodable) as error:
            exit_code = 1
            answer = _failure(path, error)
            print(f"{path}: {answer['error']}: {answer['detail']}", file=sys.stderr)
        if as_json:
            print(json.dumps(answer), flush=True)
        elif "error" not in answer:
            _print_answer(answer)
    return exit_code


def _failure(path: Path, error: Union[OSError, Undecodable]) -> Dict[str, Any]:
    if isinstance(error, Undecodable):
        return {"image": str(path), "error": error.reason, "detail": error.detail}
    return {"image": str(path), "error": "unreadable", "detail": error.strerror or str(error)}


def _classify_file(path: Path, model: Model, engine: Engine, top_k: int) -> Dict[str, Any]:
    payload = path.read_bytes()
    began = time.perf_counter()
    decoded = decode(payload, model.preprocessing, MAX_PIXELS)
    ready = time.perf_counter()
    crop = model.preprocessing.crop
    probabilities = engine.infer(np.frombuffer(decoded.pixels, np.uint8).reshape(1, crop, crop, 3))
    done = time.perf_counter()
    top = [
        {"label": model.classes[index], "index": index, "confidence": confidence}
        for index, confidence in best(probabilities[0], top_k)
    ]
    return {
        "image": str(path),
        "model": model.name,
        "weights": model.weights,
        **top[0],
        "top": top,
        "width": decoded.width,
        "height": decoded.height,
        "timings_ms": {
            "decode": round((ready - began) * 1000, 3),
            "inference": round((done - ready) * 1000, 3),
        },
    }


def _print_settings(model: Model, engine: Engine) -> None:
    recipe = model.preprocessing
    print(f"model          {model.name}, weights {model.weights}")
    print(f"engine         {engine.name} on {engine.device}")
    print(f"preprocessing  resize {recipe.resize} ({recipe.interpolation}), crop {recipe.crop},")
    print(f"               mean {_triple(recipe.mean)}, std {_triple(recipe.std)}")
    print(f"classes        {len(model.classes)}", flush=True)


def _triple(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _print_answer(answer: Dict[str, Any]) -> None:
    times = answer["timings_ms"]
    print(f"\n{answer['image']}  {answer['width']}x{answer['height']}", end="")
    print(f"  decode {times['decode']:.1f} ms, inference {times['inference']:.1f} ms")
    for candidate in answer["top"]:
        print(f"  {candidate['confidence']:7.2%}  {candidate['label']}", flush=True)
