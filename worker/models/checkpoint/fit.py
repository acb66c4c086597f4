"""Which tensors of a checkpoint are the weights of an architecture, and whether layers are left over.

state dicts ── common prefix ──> the architecture's names ──> last layer, by its shape ──> outputs
                                 all there, of their shapes   nothing unknown beside them
"""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import torch

from worker.models.checkpoint.names import Architecture, plain_names, prefixes_of, version_of
from worker.models.checkpoint.tensors import Lazy, StateDict

# Classifiers in the middle of GoogLeNet and Inception v3, of use in training only.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# Counters of tools in a module; thop: operations and parameters.
_COUNTERS = frozenset(("total_ops", "total_params", "n_averaged", "num_batches_tracked"))
# Modules beside a network that are no part of it.
_BESIDE = re.compile(
    r"(?:^|_)(loss(es)?|losses|criterion|criteria|metrics?|acc(uracy)?|auroc|auc|f1|confmat|confusion|precision|"
    r"recall|ema|teacher|momentum|optimizer|queue|center_?loss)(?:$|_|\d)|loss(_?fn|_?func\w*)?\d*$"
)
#: Of a copy that was averaged over the training, or of gradients: taken only where there is no other.
_AVERAGED = re.compile(
    r"ema|avg|average|swa|teacher|momentum|shadow|best|target|encoder_k|grad", re.IGNORECASE
)
_PARTS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class Fit(NamedTuple):
    """Tensors that fit."""

    #: Their place in the checkpoint, as `--state-key` takes it.
    key: str
    #: By the architecture's names.
    tensors: Dict[str, Lazy]
    outputs: int
    #: Of the module's format, by which MNASNet recognises its old checkpoints.
    version: int
    #: A sentence each on what was decided.
    notes: Tuple[str, ...]


class Misfit(NamedTuple):
    """Tensors that do not, and why."""

    key: str
    problems: List[str]
    #: Of the architecture's tensors, how many are there, of the right shape.
    matched: int
    #: Whether everything but the last layer fits: it is this architecture, with another end.
    only_the_head: bool = False


def attempts(
    found: StateDict, architecture: Architecture, chosen: Optional[str] = None
) -> List[Union[Fit, Misfit]]:
    """How a state dict fits, with each prefix under which most of the architecture's names are there.

    Args:
        found: a state dict.
        architecture: what it should fit.
        chosen: `--state-key`; what lies outside of it does not count then.
    """
    names, twice = plain_names(found.tensors)
    prefixes = prefixes_of(names, architecture)
    tried: List[Union[Fit, Misfit]] = []
    for prefix in prefixes:
        key = ".".join((*found.path, prefix.rstrip("."))).strip(".")
        if chosen is not None and f".{chosen}." not in f".{key}.":
            continue
        others = [other for other in prefixes if other != prefix and not prefix.startswith(other)]
        confined = chosen is not None and bool(prefix)
        matcher = _Matcher(names, prefix, others, architecture, confined)
        if twice:
            matcher.problems.append(_some("two tensors of one name, as", twice))
        tried.append(matcher.result(key, version_of(found.versions, prefix)))
    return tried


class _Matcher:
    """One prefix of one state dict against an architecture."""

    def __init__(
        self,
        names: Dict[str, Lazy],
        prefix: str,
        others: List[str],
        architecture: Architecture,
        confined: bool,
    ) -> None:
        self._names = names
        self._prefix = prefix
        self._architecture = architecture
        self.problems: List[str] = []
        self._notes: List[str] = []
        self._tensors: Dict[str, Lazy] = {}
        self._shapes: List[str] = []
        self._take_body()
        body_fits = not self.problems and not self._shapes
        self._left = self._leftover(others, confined)
        self._outputs = self._take_head()
        self._judge_leftover()
        if self._shapes:
            self.problems.append(_some("other shapes", self._shapes))
        self._only_the_head = body_fits and bool(self.problems)

    def result(self, key: str, version: int) -> Union[Fit, Misfit]:
        """The result."""
        if self.problems:
            return Misfit(key, self.problems, len(self._tensors), self._only_the_head)
        return Fit(key, self._tensors, self._outputs, version, tuple(self._notes))

    def _take_body(self) -> None:
        missing = []
        for name in self._architecture.body:
            tensor = self._names.get(f"{self._prefix}{name}")
            if tensor is not None:
                self._take(name, tensor)
            # Only training counts batches, and files from before torch 0.4.1 don't.
            elif not name.endswith("num_batches_tracked"):
                missing.append(name)
        if missing:
            self.problems.append(_some("it lacks", missing))

    def _take(self, name: str, tensor: Lazy, outputs: Optional[int] = None) -> None:
        expected = self._architecture.expected[name]
        shape = tuple(expected.shape) if outputs is None else (outputs, *expected.shape[1:])
        if tensor.shape != shape:
            self._shapes.append(f"{name} {tensor.shape} for {shape}")
        elif expected.is_floating_point() and not tensor.dtype.is_floating_point:
            self.problems.append(f"{name} is {tensor.dtype}: quantised weights")
        else:
            self._tensors[name] = tensor

    def _leftover(self, others: List[str], confined: bool) -> List[str]:
        """The names that are not the body's, nor another copy's, nor of what lies beside a network."""
        taken = {f"{self._prefix}{name}" for name in self._architecture.body}
        copies = {f"{prefix}{name}" for prefix in others for name in self._architecture.expected}
        left = []
        for name in self._names:
            inside = name.startswith(self._prefix)
            rest = name[len(self._prefix) :] if inside else name
            root = rest.partition(".")[0]
            other = name in copies or any(name.startswith(prefix) for prefix in others if prefix)
            known = inside and root in self._architecture.roots
            beside = any(_BESIDE.search(part) for part in rest.split(".")[:1]) and not known
            counter = rest.rpartition(".")[2] in _COUNTERS
            auxiliary = inside and rest.startswith(_AUXILIARY)
            if (
                name not in taken
                and not (other or beside or counter or auxiliary)
                and (inside or not confined)
            ):
                left.append(name)
        return left

    def _take_head(self) -> int:
        """Find the last layer: in its place, behind a Dropout there, or anywhere else if it is alone."""
        head = self._architecture.head
        top = f"{self._prefix}{head.partition('.')[0]}"
        weight = self._architecture.expected[f"{head}.weight"]
        stems = [
            name[: -len(".weight")]
            for name in self._left
            if name.endswith(".weight") and self._names[name].shape[1:] == tuple(weight.shape[1:])
            if len(self._names[name].shape) == weight.dim()
        ]
        place = f"{self._prefix}{head}"
        there = self._names.get(f"{place}.weight")
        if there is not None and there.shape[1:] != tuple(weight.shape[1:]):
            self._shapes.append(
                f"{head}.weight {there.shape} for {('C', *weight.shape[1:])}".replace("'", "")
            )
            self._left = [name for name in self._left if not name.startswith(f"{place}.")]
            return 0
        nearer = [stem for stem in stems if stem == top or stem.startswith(f"{top}.")]
        stem = place if place in stems else (nearer or stems or [""])[0]
        if not stem or (len(nearer or stems) > 1 and stem != place):
            what = "it lacks" if not stem else f"{len(nearer or stems)} layers that might be"
            self.problems.append(f"{what} {head}.weight {('C', *weight.shape[1:])}".replace("'", ""))
            return 0
        outputs = self._names[f"{stem}.weight"].shape[0]
        self._take(f"{head}.weight", self._names[f"{stem}.weight"], outputs)
        self._take_bias(stem, outputs)
        mine = {f"{stem}.weight", f"{stem}.bias"}
        self._left = [name for name in self._left if name not in mine]
        if stem not in nearer and stem != f"{self._prefix}head.fc" and stem != "head.fc":
            self._notes.append(
                f"the last layer is taken from {stem}, and nothing in the file tells what lies between it "
                "and the rest: if that is more than a Dropout, export the model to ONNX"
            )
        return outputs

    def _take_bias(self, stem: str, outputs: int) -> None:
        name = f"{self._architecture.head}.bias"
        bias = self._names.get(f"{stem}.bias")
        if name in self._architecture.expected:
            # A last layer without a bias is one whose bias is 0.
            none = Lazy((outputs,), torch.float32, lambda: torch.zeros(outputs))
            self._take(name, bias or none, outputs)
        elif bias is not None:
            self.problems.append(f"it has besides {stem}.bias")

    def _judge_leftover(self) -> None:
        """Left over: layers, which are a reason to refuse; or a few numbers, which are worth a sentence."""
        layers: List[str] = []
        numbers: List[str] = []
        for name in self._left:
            shape = self._names[name].shape
            small = len(shape) < 2 or max(shape[:1] + shape[2:], default=1) == 1
            inside = name.startswith(self._prefix)
            rest = name[len(self._prefix) :] if inside else name
            part = rest.rpartition(".")[2] in _PARTS
            known = inside and rest.partition(".")[0] in self._architecture.roots
            (numbers if small and not part and not known else layers).append(rest)
        if layers:
            self.problems.append(_some("it has besides", layers))
        elif numbers:
            self._notes.append(
                f"{_some('beside the weights there are', numbers)}, which are left aside: if the model "
                "computes with them, export it to ONNX"
            )


def _some(what: str, names: List[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what} {', '.join(name[:80] for name in names[:3])}{more}"


def in_order(fits: List[Fit]) -> List[Fit]:
    """The plain weights before averaged ones, the outermost before those within."""
    return sorted(fits, key=lambda fit: (bool(_AVERAGED.search(fit.key)), fit.key.count(".")))
