"""Whose CPU a frame took: the server's, the broker's, or that of what sends the frames."""

from __future__ import annotations

from typing import Dict, NamedTuple

from bench.measure import Row

BROKER = "mosquitto"
#: Drivers that send frames to others; all other drivers classify them, and count as servers.
LOAD = tuple(f"bench.drivers.{name}" for name in ("publisher", "http", "paho", "reader"))


class Parts(NamedTuple):
    """Milliseconds of CPU a frame."""

    server: float
    broker: float
    load: float


def parts_of(row: Row) -> Parts:
    """Whose CPU a row's frames took."""
    spent: Dict[str, float] = row["cpu_ms_per_frame_of"]
    broker = spent.get(BROKER, 0.0)
    load = sum(spent.get(name, 0.0) for name in LOAD)
    return Parts(sum(spent.values()) - broker - load, broker, load)
