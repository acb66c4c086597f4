"""Frames per second of the fleet beside the usual loop: same photos, same weights, same cores.

    the usual loop      Pillow, torchvision's transforms, the module, argmax; one picture after the other
    nanofleet           publisher -> broker -> one worker -> results, all on this machine

Both run in turn, several rounds, so that a noisy machine favours neither; medians and spread are reported,
and written to bench/results.json.
"""

from __future__ import annotations

import io
import itertools
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import skimage
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torchvision import transforms

from fleet.demo import CAMERAS, Workers, progress_display
from fleet.demo_settings import DemoSettings
from fleet.embedded import with_broker
from publisher.publisher import Publisher
from wire.choice import ModelChoice
from worker.model import Model
from worker.models import load_model

ROUNDS = 5
FRAMES = 120
SIZE = (640, 480)
PHOTOS = ("coffee.png", "rocket.jpg", "chelsea.png", "motorcycle_left.png", "astronaut.png")


def main() -> None:
    """Measure, show, write."""
    model, module = load_model(ModelChoice(model="efficientnet_lite0"), Path("unused"))
    jpegs = _jpegs()
    settings = DemoSettings()
    with with_broker(settings, default_port=0) as ready, Workers(ready) as workers:
        with progress_display() as progress:
            workers.wait_online(progress)
        broker = ready.open_broker()
        with Publisher(broker, ready.topics, CAMERAS, window=64, timeout=60) as publisher:
            ways: Dict[str, Callable[[Sequence[bytes]], None]] = {
                "the usual loop": _usual_loop(model, module),
                "nanofleet": lambda frames: _through_the_fleet(publisher, frames),
            }
            measured = _measure(ways, jpegs)
    report = _report(measured)
    _show(report)
    path = Path(__file__).with_name("results.json")
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _jpegs() -> List[bytes]:
    folder = Path(skimage.__file__).parent / "data"
    found = []
    for name in PHOTOS:
        with Image.open(folder / name) as photo:
            encoded = io.BytesIO()
            photo.convert("RGB").resize(SIZE).save(encoded, "JPEG", quality=85)
            found.append(encoded.getvalue())
    return found


def _usual_loop(model: Model, module: torch.nn.Module) -> Callable[[Sequence[bytes]], None]:
    recipe = model.preprocessing
    preprocess = transforms.Compose(
        [
            transforms.Resize(recipe.resize),
            transforms.CenterCrop(recipe.crop),
            transforms.ToTensor(),
            transforms.Normalize(recipe.mean, recipe.std),
        ]
    )

    def run(frames: Sequence[bytes]) -> None:
        for frame in frames:
            with Image.open(io.BytesIO(frame)) as image, torch.no_grad():
                int(module(preprocess(image.convert("RGB")).unsqueeze(0)).argmax())

    return run


def _through_the_fleet(publisher: Publisher, frames: Sequence[bytes]) -> None:
    sent = [publisher.send(camera, frame, "") for frame, camera in zip(frames, itertools.cycle(CAMERAS))]
    publisher.wait()
    lost = [frame for frame in sent if frame.answer is None]
    if lost:
        raise RuntimeError(f"{len(lost)} of {len(sent)} frames were not answered")


def _measure(
    ways: Dict[str, Callable[[Sequence[bytes]], None]], jpegs: Sequence[bytes]
) -> Dict[str, List[float]]:
    frames = list(itertools.islice(itertools.cycle(jpegs), FRAMES))
    measured: Dict[str, List[float]] = {name: [] for name in ways}
    for run in ways.values():
        run(frames[:16])
    for _ in range(ROUNDS):
        for name, run in ways.items():
            began = time.perf_counter()
            run(frames)
            measured[name].append(len(frames) / (time.perf_counter() - began))
    return measured


def _report(measured: Dict[str, List[float]]) -> Dict[str, Any]:
    baseline = statistics.median(measured["the usual loop"])
    return {
        "model": "efficientnet_lite0",
        "image": f"{SIZE[0]}x{SIZE[1]} JPEG",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} torch threads",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "frames_per_second": {
            name: {
                "median": round(statistics.median(rates), 1),
                "lowest": round(min(rates), 1),
                "highest": round(max(rates), 1),
                "ratio_to_the_usual_loop": round(statistics.median(rates) / baseline, 2),
            }
            for name, rates in measured.items()
        },
    }


def _show(report: Dict[str, Any]) -> None:
    table = Table(
        "way", "frames/s", "lowest", "highest", "ratio", title=f"{report['model']}, {report['image']}"
    )
    for name, row in report["frames_per_second"].items():
        table.add_row(name, *(str(value) for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
