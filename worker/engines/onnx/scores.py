"""From what a file gives to probabilities: which of its outputs, in which form, by which activation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from wire.errors import SettingsError
from worker.engines.base import ROUNDED
from worker.engines.onnx.graph.nodes import Graph
from worker.engines.onnx.graph.outputs import Ending, ending_of, is_made_of

Scores = NDArray[np.float32]

_DONE = {"softmax": "Softmax", "sigmoid": "Sigmoid", "log_softmax": "LogSoftmax"}


def rows(raw: Any, images: int, keys: Sequence[Any]) -> Optional[NDArray[Any]]:
    """An output of onnxruntime's as [images, numbers], or None if it is no row of numbers for each image.

    Args:
        raw: [N, C], [N, C, 1, 1], [C] or a scalar (of one image), or a map or a sequence of maps.
        images: how many were classified.
        keys: of maps, in order.
    """
    if isinstance(raw, dict):
        raw = [raw]
    if isinstance(raw, list):
        if len(raw) != images or not all(isinstance(each, dict) for each in raw):
            return None
        return np.array([[each[key] for key in keys or sorted(raw[0])] for each in raw], np.float32)
    if not isinstance(raw, np.ndarray) or raw.dtype not in (
        *(np.float32, np.float16, np.float64),
        *(np.uint8, np.int8),
    ):
        return None
    numbers = raw.size // images
    if numbers * images != raw.size or not numbers:
        return None
    if images > 1 and raw.shape[:1] != (images,):
        return None
    inner = raw.shape[1:] if images > 1 or (raw.ndim > 1 and raw.shape[0] == 1) else raw.shape
    return raw.reshape(images, numbers) if max(inner, default=1) == numbers else None


class Output(NamedTuple):
    """An output that may be the classes."""

    number: int
    name: str
    ending: Ending
    #: [2, numbers]: of two test pictures.
    values: NDArray[Any]


def chosen_output(
    path: Path, graph: Graph, outputs: List[Output], wanted: Optional[int], assumed: List[str]
) -> Output:
    """The output that gives the classes.

    Args:
        path: for messages.
        graph: the model's.
        outputs: those that may be it, in order.
        wanted: how many class names there are, if any.
        assumed: gets a sentence, where nothing tells.
    """
    left = _kept(outputs, [_fits(output, wanted) for output in outputs])
    # Not what another one is computed of: an embedding, or logits where there are probabilities.
    used = [any(is_made_of(graph, other.name, output.name) for other in left) for output in left]
    left = _kept(left, [not each for each in used])
    left = _kept(left, [output.ending.values in ("softmax", "sigmoid") for output in left])
    left = _kept(left, [output.values.shape[1] > 1 for output in left])
    sizes = {output.values.shape[1] for output in left}
    # Of heads of one size the main one comes first; else an embedding comes before the classes.
    taken = left[0] if len(sizes) == 1 else left[-1]
    if len(left) > 1:
        listed = ", ".join(f"{output.name} ({output.values.shape[1]} numbers)" for output in left)
        assumed.append(
            f"the file has several outputs that may be the classes, {listed}: {taken.name} was taken; "
            "export it with the one that is meant, or give as many --labels as that has numbers"
        )
    return taken


def _kept(outputs: List[Output], which: List[bool]) -> List[Output]:
    """Those outputs, or all, if it is none."""
    return [output for output, keep in zip(outputs, which) if keep] or outputs


def _fits(output: Output, wanted: Optional[int]) -> bool:
    numbers = output.values.shape[1]
    return wanted is not None and (numbers == wanted or (numbers == 1 and wanted == 2))


class Activation(NamedTuple):
    """The function that makes probabilities of scores."""

    #: `softmax`, `sigmoid`, `exp` or `none`.
    how: str
    multi_label: bool


def activation_of(
    path: Path, values: Optional[str], scores: Scores, asked: Optional[str], assumed: List[str]
) -> Activation:
    """The activation that is still to be done, by what the graph has done already.

    Args:
        path: for messages.
        values: what the graph tells; see `Ending`.
        scores: [2, classes], of two test pictures.
        asked: `--activation`.
        assumed: gets a sentence, where nothing tells.

    Raises:
        SettingsError: what is asked for, or what the file does, makes no probabilities.
    """
    several = scores.shape[1] > 1
    _check_possible(path, values, several, asked)
    if values == "softmax" and asked != "none":
        _check_sums(path, scores)
    if asked is None and values is None:
        asked = _guess(scores, assumed)
    multi_label = several and "sigmoid" in (asked, values)
    if asked == "none" or asked == values or (asked is None and values in ("softmax", "sigmoid")):
        how = "none"
    elif asked is None:
        how = "exp" if values == "log_softmax" else "softmax" if several else "sigmoid"
    else:
        how = asked
    if how == "none" and (scores.min() < -ROUNDED or scores.max() > 1 + ROUNDED):
        raise SettingsError(
            f"--activation none: {path} answers test pictures with numbers from {scores.min():g} to "
            f"{scores.max():g}, which are no probabilities"
        )
    return Activation(how, multi_label)


def _check_possible(path: Path, values: Optional[str], several: bool, asked: Optional[str]) -> None:
    """See that what is asked for can follow what the graph has done, and makes probabilities."""
    done = _DONE.get(values or "")
    possible = asked == values or (asked, values) == ("softmax", "log_softmax")
    if asked in ("softmax", "sigmoid") and done and not possible:
        raise SettingsError(
            f"--activation {asked}: {path} ends with {done} already, which cannot be taken back: leave "
            "--activation out, or export it without"
        )
    if not several and "softmax" in (asked, values):
        where = "--activation softmax" if asked == "softmax" else "the Softmax at its end"
        raise SettingsError(
            f"{path} has a single output, of which {where} makes 1 whatever is seen: a single output wants a "
            "sigmoid"
        )


def _check_sums(path: Path, scores: Scores) -> None:
    sums = scores.sum(1)
    # What 8 bits hold is off by up to a step for each class.
    if (np.abs(sums - 1) > 0.05 + scores.shape[1] / 256).any():
        raise SettingsError(
            f"{path} ends with a Softmax, and its classes sum to {sums[0]:g}, not to 1, for a test picture: "
            "it is taken over another dimension, or over parts of the classes (in PyTorch: Softmax(dim=1))"
        )


def _guess(scores: Scores, assumed: List[str]) -> str:
    """The activation of a graph that does not say it: by the values for two test pictures."""
    if not ((scores >= -1e-3).all() and (scores <= 1 + 1e-3).all()):
        guess, why = ("softmax" if scores.shape[1] > 1 else "sigmoid"), "they are no probabilities yet"
    elif scores.shape[1] == 1 or np.allclose(scores.sum(1), 1, atol=1e-2):
        guess, why = "none", "they are probabilities"
    else:
        guess, why = "softmax", "they do not sum to 1"
    assumed.append(
        f"the graph does not tell what its outputs are; by those for two test pictures {why}: --activation "
        f"{guess} is assumed; --activation (softmax, sigmoid, none) says otherwise"
    )
    return guess


def activated(scores: Scores, how: str) -> Scores:
    """Probabilities of scores [N, classes]; what is no number stays none."""
    with np.errstate(all="ignore"):
        if how == "softmax":
            shares = np.exp(scores - scores.max(1, keepdims=True))
            made: Scores = shares / shares.sum(1, keepdims=True)
            return made
        if how == "sigmoid":
            # Of large negative numbers exp overflows to infinity, and 1 / infinity is right.
            return np.asarray(1 / (1 + np.exp(-scores)), np.float32)
        return np.exp(scores) if how == "exp" else scores


def quantization_of(output: Output, assumed: List[str]) -> Tuple[float, float]:
    """Scale and zero point of an output's numbers; 1 and 0 where they are floats."""
    if output.values.dtype.kind == "f":
        return 1.0, 0.0
    if output.ending.quantized is not None:
        return output.ending.quantized
    usual = (1 / 255, 0.0) if output.values.dtype == np.uint8 else (1 / 256, -128.0)
    assumed.append(
        f"the graph does not tell the scale of its output's {output.values.dtype} numbers: 0 to 1 over their "
        "whole range is assumed; export it with a float output"
    )
    return usual


def described(raws: Sequence[Any]) -> str:
    """The shapes of outputs, for a message."""
    return ", ".join(
        str(list(raw.shape)) if isinstance(raw, np.ndarray) else type(raw).__name__ for raw in raws
    )


def candidates(graph: Graph, names: Sequence[str], runs: List[List[Any]], images: int) -> List[Output]:
    """The outputs that give a row of numbers for each image.

    Args:
        graph: the model's.
        names: of all outputs.
        runs: all outputs, of each run of so many images.
        images: in each run.
    """
    found: Dict[int, Output] = {}
    for number, name in enumerate(names):
        ending = ending_of(graph, name)
        parts = [rows(run[number], images, ending.keys) for run in runs]
        whole = [part for part in parts if part is not None]
        if len(whole) == len(parts) and len({part.shape for part in whole}) == 1:
            found[number] = Output(number, name, ending, np.concatenate(whole)[:2])
    return list(found.values())
