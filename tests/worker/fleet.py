"""Statuses as other workers publish them."""

from __future__ import annotations

from typing import Dict

from wire.messages import WorkerStatus, utc_now

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
