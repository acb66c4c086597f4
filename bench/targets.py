"""The ratios to be reached."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence

from bench.measure import CPU, FPS, Row, spread
from bench.rows import LIMIT_B, of_way


class Target(NamedTuple):
    """A ratio to be reached. It compares medians of one run."""

    what: str
    figure: str
    way: str
    other: str
    size: str
    bound: float
    at_most: bool = False


TARGETS = (
    Target("of limit B", FPS, "nanofleet", LIMIT_B, "480p", 0.95),
    Target("of limit B, with two workers", FPS, "nanofleet (2 workers)", LIMIT_B, "480p", 0.9),
    Target("times the tutorial's loop", FPS, "nanofleet", "tutorial loop", "480p", 3.5),
    Target("times the tutorial's loop", FPS, "nanofleet", "tutorial loop", "1080p", 8.0),
    Target("times the paho script", FPS, "nanofleet", "paho script", "480p", 3.5),
    Target("times LitServe with PyTorch", FPS, "nanofleet", "LitServe (eager)", "480p", 4.0),
    Target("times LitServe with our engine", FPS, "nanofleet", "LitServe (our engine)", "480p", 1.2),
    Target("times mosec with our engine", FPS, "nanofleet", "mosec (our engine)", "480p", 1.0),
    Target("times Ray Serve with our engine", FPS, "nanofleet", "Ray Serve (our engine)", "480p", 1.0),
    Target("of limit B's CPU per frame", CPU, "nanofleet", LIMIT_B, "480p", 1.1, at_most=True),
)
CAMERAS_TARGET = 0.97


def ratio(rows: Sequence[Row], model: str, target: Target) -> Optional[float]:
    """What a target compares, or None if one side was not measured."""
    figures = [
        spread(of_way(rows, model, target.size, way), target.figure) for way in (target.way, target.other)
    ]
    return figures[0].median / figures[1].median if figures[0] and figures[1] else None
