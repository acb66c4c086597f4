"""Statuses and claims as other workers publish them."""

from __future__ import annotations

from typing import Dict

from wire.messages import AdoptionClaim, WorkerStatus, utc_now

LEASE = 30.0
INPUTS = ("nanofleet/frames/{camera}",)


def status(worker: str, state: str = "online", **given: object) -> WorkerStatus:
    """A status of a worker of the usual group."""
    fields: Dict[str, object] = {
        **{"worker": worker, "state": state, "group": "workers", "inputs": INPUTS},
        **{"model": "m", "weights": "w", "engine": "e", "device": "cpu", "version": "0"},
        **{"started_at": utc_now(), "sent_at": utc_now(), "lease_seconds": LEASE},
        **given,
    }
    return WorkerStatus.model_validate(fields)


def claim(dead: str, worker: str, state: str = "draining", *, instance: str = "") -> AdoptionClaim:
    """A claim on the session of a process of a dead worker."""
    fields = {"dead": dead, "worker": worker, "state": state, "instance": instance, "sent_at": utc_now()}
    return AdoptionClaim.model_validate(fields)
