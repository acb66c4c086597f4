"""Whether a worker of several front ends says what the same model says in float32, on parts of photos."""

from __future__ import annotations

import io
import random
import threading
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.cuda_steps import forward_of
from bench.photos import PHOTOS, QUALITY
from bench.site import prepared
from bench.weights import Weights
from publisher.publisher import Publisher
from publisher.sent import Sent
from wire.broker import BrokerSettings
from wire.messages import Result
from worker.decode.image import decode
from worker.models.loader import load_model

#: Parts of photos, and how far ahead of the second a first place is clear.
PARTS, CLEAR = 200, 0.1


def parts() -> List[bytes]:
    """Parts of the photos, of many sizes, as JPEG."""
    import skimage

    folder, chance, found = Path(skimage.__file__).parent / "data", random.Random(0), []
    photos = [Image.open(folder / name).convert("RGB") for name in PHOTOS]
    for number in range(PARTS):
        photo = photos[number % len(photos)]
        side = chance.randint(150, min(photo.size))
        left, top = (chance.randint(0, length - side) for length in photo.size)
        encoded = io.BytesIO()
        photo.crop((left, top, left + side, top + side)).save(encoded, "JPEG", quality=QUALITY)
        found.append(encoded.getvalue())
    return found


def agreement(weights: Weights, processes: int, device: str, *flags: object) -> Dict[str, Any]:
    """How many labels are those of float32, of all and of the clear ones."""
    frames = parts()
    said, exact = _said(weights, frames, processes, *flags), _exact(weights, frames, device)
    same = said == exact.argmax(1)
    first_two = np.sort(exact, axis=1)[:, -2:]
    clear = first_two[:, 1] - first_two[:, 0] >= CLEAR
    return {
        "pictures": len(frames),
        "same_labels": int(same.sum()),
        "clear": int(clear.sum()),
        "same_clear": int(same[clear].sum()),
    }


def _said(weights: Weights, frames: List[bytes], processes: int, *flags: object) -> NDArray[np.int64]:
    """The labels' numbers by a worker."""
    found = np.full(len(frames), -1)

    def receive(sent: Sent) -> None:
        if isinstance(sent.answer, Result):
            found[int(sent.source)] = sent.answer.index

    with prepared(weights) as site:
        port = site.mosquitto()
        model, folder = site.model
        given = ["--model", model, "--weights-dir", folder, "--processes", processes, *flags]
        (worker,) = site.workers(port, 1, *given)
        worker.wait_until(lambda: worker.output().count("connected to") >= processes)
        there = BrokerSettings(broker=f"mqtt://127.0.0.1:{port}", root="bench")
        with Publisher(
            there.open_broker(), there.topics, ["parts"], window=64, timeout=60, on_done=receive
        ) as publisher:
            publisher.connection.wait_connected(threading.Event())
            for number, frame in enumerate(frames):
                publisher.send("parts", frame, str(number))
            publisher.wait()
    return found


@torch.inference_mode()
def _exact(weights: Weights, frames: List[bytes], device: str) -> NDArray[np.float32]:
    """float32 [N, classes], by the module as it was trained."""
    model, module = load_model(weights.choice, weights.folder)
    recipe = model.preprocessing
    decoded = [np.frombuffer(decode(frame, recipe).pixels, np.uint8) for frame in frames]
    pixels = torch.from_numpy(np.stack(decoded).reshape(-1, *recipe.shape))
    forward = forward_of(module, recipe, torch.float32, torch.contiguous_format, torch.device(device))
    rows: NDArray[np.float32] = (
        torch.cat([forward(part.to(device)) for part in pixels.split(32)]).cpu().numpy()
    )
    return rows
