"""A sample of each message, as the JSON that others may rely on."""

from __future__ import annotations

import json
from typing import Any, Dict

MOMENT = "2026-11-24T04:05:06.789000Z"

RESULT: Dict[str, Any] = {
    "schema": 1,
    "frame_id": "cup-1",
    "camera": "door",
    "worker": "w1",
    "model": "efficientnet_lite0",
    "weights": "0123abcd",
    "label": "espresso",
    "index": 967,
    "confidence": 0.84,
    "top": [{"label": "espresso", "index": 967, "confidence": 0.84}],
    "width": 600,
    "height": 400,
    "captured_at": None,
    "received_at": MOMENT,
    "answered_at": MOMENT,
    "timings_ms": {"queue": 0.1, "decode": 4.0, "inference": 9.5, "total": 14.0},
    "batch_size": 1,
    "complete": False,
    "labels": ["cat", "sofa"],
    "notes": ["captured_at: no time"],
}
REJECTION: Dict[str, Any] = {
    "schema": 1,
    "frame_id": "cup-1",
    "camera": "door",
    "worker": "w1",
    "reason": "not_an_image",
    "detail": "neither JPEG nor PNG nor WebP",
    "received_at": MOMENT,
}
STATUS: Dict[str, Any] = {
    "schema": 1,
    "worker": "w1",
    "state": "online",
    "instance": "6f1f6b1c",
    "group": "workers",
    "inputs": ["nanofleet/frames/{camera}"],
    "lease_seconds": 30.0,
    "model": "efficientnet_lite0",
    "weights": "0123abcd",
    "engine": "torch",
    "engine_why": "asked for",
    "device": "cpu",
    "assumed": ["the scaling"],
    "metrics": "http://127.0.0.1:9464/metrics",
    "version": "0.1.0",
    "started_at": MOMENT,
    "sent_at": MOMENT,
    "frames_per_second": 12.5,
    "in_hand": 3,
    "takes_frames": False,
    "wait_seconds": 0.7,
    "accepts_control": True,
    "change": {
        "command": "c1",
        "topic": "nanofleet/control/model",
        "model": "resnet50",
        "instead_of": "mobilenet_v2",
        "state": "serving",
        "detail": "",
        "compared": 20,
        "agreed": 19,
    },
}
CLAIM: Dict[str, Any] = {
    "schema": 1,
    "dead": "w2",
    "instance": "6f1f6b1c",
    "worker": "w1",
    "state": "draining",
    "frames": 7,
    "sent_at": MOMENT,
}
COMMAND: Dict[str, Any] = {
    "schema": 1,
    "id": "c1",
    "choice": {
        "model": "resnet18@birds.pth",
        "labels": "birds.txt",
        "sha256": "0" * 64,
        "resize": 232,
        "crop": 224,
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "scaling": None,
        "channels": "bgr",
        "fit": "squeeze",
        "activation": "sigmoid",
        "threshold": 0.25,
        "state_key": "model_ema",
    },
    "compare": True,
}


def changed(fields: Dict[str, Any], **changes: str) -> bytes:
    """The message with some fields replaced by raw JSON."""
    marked = {**fields, **{name: f"@{name}@" for name in changes}}
    text = json.dumps(marked)
    for name, value in changes.items():
        text = text.replace(f'"@{name}@"', value)
    return text.encode()
