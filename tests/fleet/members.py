"""Statuses and answers as workers publish them, without the workers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.harness import Listener
from wire.messages import AdoptionClaim, Candidate, Change, Reason, Rejection, Result, WorkerStatus, utc_now

_STARTED = utc_now() - timedelta(days=30)


def status(name: str, *, age: float = 0.0, **facts: Any) -> WorkerStatus:
    """A worker's status that was sent `age` seconds ago, by the clock of its machine."""
    usual = {
        **{"worker": name, "state": "online", "group": "workers", "inputs": ("nanofleet/frames/{camera}",)},
        **{"model": "mobilenet_v2", "weights": "IMAGENET1K_V2", "engine": "onnxruntime", "device": "cpu"},
        **{"version": "0.1.0", "started_at": _STARTED, "instance": f"{name}, first life"},
        "sent_at": utc_now() - timedelta(seconds=age),
        "metrics": f"http://{name}:9464/metrics",
    }
    return WorkerStatus(**{**usual, **facts})


def publish_status(listener: Listener, root: str, name: str, **facts: Any) -> None:
    """Publish a status as the worker would, retained."""
    listener.publish(f"{root}/workers/{name}", status(name, **facts).encode(), retain=True)


def publish_claim(
    listener: Listener, root: str, dead: str, worker: str, state: str = "ended", *, age: float = 0.0
) -> None:
    """Publish a claim on the session of such a worker as its adopter would, `age` seconds ago."""
    sent_at = utc_now() - timedelta(seconds=age)
    facts = {"dead": dead, "worker": worker, "state": state, "sent_at": sent_at}
    claim = AdoptionClaim(instance=f"{dead}, first life", **facts)  # type: ignore[arg-type]
    listener.publish(f"{root}/workers/{dead}/adoption/{worker}", claim.encode(), retain=True)


def change(command: str, state: str = "serving", **facts: Any) -> Change:
    """How a worker stands with a command."""
    usual = {"topic": "control/model", "model": "resnet50", "instead_of": "mobilenet_v2"}
    return Change(**{"command": command, "state": state, **usual, **facts})


def result(camera: str = "door", label: str = "cat", confidence: float = 0.9, **facts: Any) -> Result:
    """An answer."""
    usual = {
        **{"frame_id": "1", "camera": camera, "worker": "nano-1", "model": "m", "weights": "w"},
        **{"label": label, "index": 0, "confidence": confidence, "width": 4, "height": 3, "batch_size": 1},
        "top": (Candidate(label=label, index=0, confidence=confidence),),
        **{"received_at": utc_now(), "answered_at": utc_now(), "timings_ms": {"total": 12.4}},
    }
    return Result(**{**usual, **facts})


def rejection(camera: str = "door", detail: str = "no picture") -> Rejection:
    """A frame's rejection."""
    return Rejection(
        frame_id="1",
        camera=camera,
        worker="nano-1",
        reason=Reason.NOT_AN_IMAGE,
        detail=detail,
        received_at=utc_now(),
    )
