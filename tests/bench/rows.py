"""Rows as a run measures them."""

from __future__ import annotations

from typing import Any, Dict

from bench.observer import OBSERVER_CPU, WORKER_CPU
from bench.ways import WAYS

WAY_NAMES = {way.name for way in WAYS}


def row(way: str, rate: float, cpu: float = 1.0, **more: Any) -> Dict[str, Any]:
    common = {"experiment": "throughput", "model": "m", "size": "480p", "peak_bytes": 1e6}
    common["cpu_ms_per_frame_of"] = {
        "mosquitto": 0.25 * cpu,
        "bench.drivers.http": 0.25 * cpu,
        "x": 0.5 * cpu,
    }
    return {**common, "way": way, "frames_per_second": rate, "cpu_ms_per_frame": cpu, **more}


ROWS = [
    *(row("LitServe (our engine)", rate, round=n) for n, rate in enumerate((80, 40, 400))),
    *(row("mosec (our engine)", rate, round=n) for n, rate in enumerate((100, 60, 100))),
    *(row("nanofleet", rate, cpu=12.0, round=n) for n, rate in enumerate((120, 60, 90))),
    {"experiment": "throughput", "round": 0, "model": "m", "way": "paho script", "error": "it broke"},
]


def observed(load: str, arrangement: str, turn: int, rate: float, cpu: float, own: float) -> Dict[str, Any]:
    about = {"experiment": "observer", "round": 0, "load": load, "arrangement": arrangement, "turn": turn}
    figures = {WORKER_CPU: cpu, OBSERVER_CPU: own, "frames_per_second": rate, "rate": 200.0}
    return {**about, **figures}
