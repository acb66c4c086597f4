"""Graphs that give a logit for each colour, and what those are for some pictures."""

from __future__ import annotations

from typing import Any, Dict

from tests.worker.engines.graphs import Net, pictures

NAMES = ("a", "b", "c")
#: Nothing is assumed of the pixels.
PIXELS: Dict[str, Any] = {"scaling": "unit", "fit": "squeeze"}
SHOWN = pictures(4)
MEANS = (SHOWN / 255.0).mean((1, 2))
LOGITS = 6 * MEANS - 3


def logits(net: Net) -> str:
    return str(net.add("Sub", net.add("Mul", net.means(), net.const(6.0)), net.const(3.0)))
