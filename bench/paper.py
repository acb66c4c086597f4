"""A model on paper: what brokers carry for fleets larger than any machine at hand.

Measured here: CPU seconds of a broker's core per frame, and a frame's bytes on the wire. Published: frames/s
of a Nano. Assumed: that a frame which changes nodes inside a cluster costs as much as one more delivery.

    demand   N Nanos x frames/s of each
    a node   carries min(1 / CPU seconds, link / bytes) frames/s
    M nodes  carry M / (1 + (M - 1) / M) times that: of M nodes, M - 1 are not the one where the frame came in
"""

from __future__ import annotations

from typing import NamedTuple

#: ResNet-18 in half precision on the original Nano, batch 1, frames/s: torch2trt's table.
NANO_TORCH, NANO_TENSORRT = 29.0, 90.0
FLEETS = (10, 100, 1000)
#: Bytes a second, in each direction.
GIGABIT = 125e6
#: Bytes of a Result with its topic and properties, at most.
RESULT = 1500


class Need(NamedTuple):
    """What a fleet needs of its brokers."""

    nanos: int
    frames_per_second: float
    gigabits_per_second: float
    #: Of one core and one link each.
    nodes: int


def node_capacity(cpu_ms: float, payload: int, link: float) -> float:
    """Frames/s through one broker: by its core, or by its link, whichever is less."""
    return min(1000 / cpu_ms, link / (payload + RESULT))


def cluster_capacity(nodes: int, one: float) -> float:
    """Frames/s through so many nodes, each of which carries `one` alone."""
    return nodes * one / (1 + (nodes - 1) / nodes)


def need(nanos: int, rate: float, cpu_ms: float, payload: int, link: float) -> Need:
    """What so many Nanos at this rate need."""
    demand, one, nodes = nanos * rate, node_capacity(cpu_ms, payload, link), 1
    while cluster_capacity(nodes, one) < demand:
        nodes += 1
    return Need(nanos, demand, demand * (payload + RESULT) * 8 / 1e9, nodes)
