"""The pixels that a graph was trained on, by what it does to them first.

A network is trained on pixels that its framework has brought to one of a few scales. Where the graph itself
brings them from one of those to another, that says which ones it is fed: x / 255 wants bytes, 2 x - 1 wants
0 to 1, and what subtracts 103.9, 116.8, 123.7 wants blue first.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional, Tuple

import numpy as np

from worker.decode.preprocessing import SCALINGS, Triple
from worker.engines.onnx.graph.affine import Walk
from worker.engines.onnx.graph.steps import Affine

_Scale = Tuple[Triple, Triple]
#: Scales that a graph may bring pixels to: those that are named, and what Caffe's networks are trained on.
_TARGETS: Dict[str, _Scale] = {
    **{name: scale for name, scale in SCALINGS.items() if name != "bytes"},
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)),
}
#: How far a graph's numbers may be from the exact ones: tools round, and divide by 256 or by 128.
_ROUNDED = 0.035


class Pixels(NamedTuple):
    """The pixels that a graph takes."""

    #: A name of SCALINGS.
    scaling: str
    #: `rgb` or `bgr`, where that can be known.
    channels: Optional[str]
    #: Whether it is only likely: by the range of a calibration.
    likely: bool = False


def pixels_of(walk: Walk) -> Optional[Pixels]:
    """The scale and the order of the channels that a graph takes; None where it does not say."""
    exact = [each for each in map(_recognised, walk.affine) if each]
    if exact:
        order = next((each.channels for each in exact if each.channels), None)
        return exact[0]._replace(channels=order)
    for affine in walk.affine:
        scaling = _standardised(affine)
        if scaling:
            return Pixels(scaling, None)
    if walk.quantized:
        scaling = _of_range(*walk.quantized)
        return Pixels(scaling, None, likely=True) if scaling else None
    return None


def _recognised(affine: Affine) -> Optional[Pixels]:
    """The pair of scales that is nearest to what the graph computes, if one is near."""
    best: Tuple[float, Optional[Pixels]] = (_ROUNDED, None)
    for scaling, fed in SCALINGS.items():
        for name, wanted in _TARGETS.items():
            if name == scaling:
                continue
            off = {order: _distance(affine, fed, wanted, order) for order in ("rgb", "bgr")}
            order = min(off, key=lambda each: off[each])
            if off[order] < best[0]:
                known = abs(off["rgb"] - off["bgr"]) > 1e-4 and len(affine.scale) == 3
                best = off[order], Pixels(scaling, order if known else None)
    return best[1]


def _distance(affine: Affine, fed: _Scale, wanted: _Scale, order: str) -> float:
    """How far the graph is from bringing one scale to another, relatively."""
    colours = [channel if order == "rgb" else 2 - channel for channel in affine.source]
    (mean, std), (to_mean, to_std) = np.array(fed), np.array(wanted)
    scale = (std / to_std)[colours]
    shift = ((mean - to_mean) / to_std)[colours]
    # Where the shift is small, by how much of the pixels' whole range it is off.
    size = np.maximum(np.abs(shift), np.abs(scale) / std[colours] * 0.3)
    return float(np.maximum(np.abs(affine.scale / scale - 1), np.abs(affine.shift - shift) / size).max())


def _standardised(affine: Affine) -> Optional[str]:
    """Of a mean and a deviation that were learnt: the scale on which they are a picture's."""
    scale = affine.scale
    if affine.pooled or (scale <= 0).any():
        return None
    middle = -affine.shift / scale
    # What maps 0..255 to a few units must have been made for 0..255.
    for name, white in (("bytes", 255.0), ("unit", 1.0)):
        spread = scale * white
        if (spread > 1.8).all() and (spread < 12).all() and (np.abs(middle / white - 0.45) < 0.3).all():
            return name
        if name == "bytes" and (spread > 0.4).all() and (spread < 12).all():
            return name
    return None


def _of_range(low: float, high: float, unsure: bool) -> Optional[str]:
    """The scale that a calibration has seen; of a symmetric quantisation the low end says nothing."""
    if 60 <= high <= 300 and (unsure or low > -1):
        return "bytes"
    if not unsure and low > -0.02 and 0.5 <= high <= 1.3:
        return "unit"
    if not unsure and -1.3 <= low <= -0.5 and 0.5 <= high <= 1.3:
        return "symmetric"
    if low <= -1.3 and 1.3 <= high <= 3.2:
        return "imagenet"
    return None
