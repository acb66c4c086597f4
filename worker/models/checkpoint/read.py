"""A checkpoint's weights for one architecture: the state dict that fits, and what was decided on the way."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

import torch

from wire.errors import SettingsError
from wire.printable import plain
from worker.models import catalog
from worker.models.checkpoint import advice
from worker.models.checkpoint.beside import makers
from worker.models.checkpoint.files import Opened
from worker.models.checkpoint.fit import Fit, Misfit, attempts, in_order
from worker.models.checkpoint.names import Architecture
from worker.models.checkpoint.tensors import StateDict, state_dicts
from worker.models.checkpoint.things import Malformed, items

State = Dict[str, torch.Tensor]
#: Tensors of the smallest architecture, AlexNet.
_FEWEST = 16


class Weights(NamedTuple):
    """The tensors that fit, and what was decided in choosing them."""

    state: State
    outputs: int
    #: A sentence each.
    notes: Tuple[str, ...]


def read_weights(
    opened: Opened, architecture: Architecture, path: Path, state_key: Optional[str] = None
) -> Weights:
    """The weights of an architecture in a checkpoint.

    Args:
        opened: the checkpoint.
        architecture: whose weights.
        path: for errors.
        state_key: which of several state dicts.

    Raises:
        SettingsError: none fits; the text says why, and what would.
    """
    try:
        found = list(state_dicts(opened.root, opened.storages))
        fits, misfits = _sorted_out(found, architecture, state_key)
        if fits:
            state = _load(fits[0], path)
            return Weights(state, fits[0].outputs, (*_other(fits, state, path), *fits[0].notes))
    except Malformed as error:
        raise SettingsError(f"{path}: not a checkpoint, or a damaged one: {error}") from error
    refused = advice.refused_maker(makers(opened.root), path)
    if refused is not None:
        raise SettingsError(f"{path}: {refused}")
    if not found:
        raise SettingsError(
            f"{path}: it holds no state dict (names and tensors), but {_describe(opened.root)}. "
            f"Where it was trained, save one: {advice.SAVE}"
        )
    if state_key is not None and not misfits:
        raise SettingsError(f"{path}: it has no state dict {state_key!r}; {_keys(found, architecture)}")
    raise SettingsError(_explained(path, architecture, misfits, found))


def _sorted_out(
    found: List[StateDict], architecture: Architecture, state_key: Optional[str]
) -> Tuple[List[Fit], List[Misfit]]:
    fits: List[Fit] = []
    misfits: List[Misfit] = []
    for state_dict in found:
        for tried in attempts(state_dict, architecture, state_key):
            if isinstance(tried, Fit):
                fits.append(tried)
            else:
                misfits.append(tried)
    return in_order(fits), sorted(misfits, key=lambda misfit: -misfit.matched)


def _load(fit: Fit, path: Path) -> State:
    state: State = collections.OrderedDict((name, lazy.load()) for name, lazy in fit.tensors.items())
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise SettingsError(f"{path}: {name} holds values that are no numbers: the training diverged")
    # load_state_dict looks for the versions of the modules' formats here.
    state._metadata = {"": {"version": fit.version}}  # type: ignore[attr-defined]
    return state


def _other(fits: List[Fit], state: State, path: Path) -> List[str]:
    for other in fits[1:]:
        if other.outputs != fits[0].outputs or any(
            not torch.equal(tensor, state[name])
            for name, tensor in _load(other, path).items()
            if name in state
        ):
            taken = fits[0].key
            which = repr(taken) if taken else "the outermost"
            return [
                f"it holds several state dicts that fit and differ: {which} was taken; --state-key "
                f"{other.key} takes another"
                + (f", and --state-key {taken} says that this one is meant" if taken else "")
            ]
    return []


def _keys(found: List[StateDict], architecture: Architecture) -> str:
    keys = [tried.key for state_dict in found for tried in attempts(state_dict, architecture) if tried.key]
    return f"there are {', '.join(sorted(set(keys))[:8])}" if keys else "it has only one, without a key"


def _describe(root: object) -> str:
    keys = [key for key in items(root) if isinstance(key, (str, int))] if not isinstance(root, list) else []
    if keys or isinstance(root, dict):
        return f"a dict with {', '.join(repr(key)[:60] for key in keys[:5]) or 'nothing in it'}"
    name = getattr(root, "name", "")
    return f"an object of {name}" if name else f"a {type(root).__name__}"


def _explained(path: Path, architecture: Architecture, misfits: List[Misfit], found: List[StateDict]) -> str:
    problems = "; ".join(misfits[0].problems) if misfits else "none of its names fit"
    text = f"{path} does not hold the weights of {architecture.name}: {problems}"
    if misfits and misfits[0].only_the_head:
        return f"{text}. Around its last layer, it is another network than torchvision's. {advice.EXPORT}"
    others = _architectures_of(found)
    if others:
        names = " or ".join(others)
        return f"{text}. These are weights of {names}: --model {others[0]}@{path}"
    if "pos_embedding" in problems:
        text += ". Its images were of another size: say it with --resize and --crop"
    named = [name for state_dict in found for name in state_dict.tensors]
    export = advice.about_tensors(named, path.name)
    return f"{text}. If its network is not one of `nanofleet models list`: {export}"


def _architectures_of(found: List[StateDict]) -> List[str]:
    """The architectures that some tensors are the weights of, by their names and shapes."""
    fitting: List[str] = []
    found = [state for state in found if len(state.tensors) >= _FEWEST]
    for name in catalog.names() if found else []:
        template = catalog.outline(name)
        if template is not None:
            architecture = Architecture(name, template)
            if any(isinstance(tried, Fit) for state in found for tried in attempts(state, architecture)):
                fitting.append(name)
    return fitting[:3]


def fill(module: torch.nn.Module, state: State, path: Path) -> torch.nn.Module:
    """Give a module its weights, and make it ready for inference.

    Raises:
        SettingsError: they do not fit.
    """
    try:
        module.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        lines = plain(str(error)).splitlines()
        raise SettingsError(
            f"{path} does not hold the weights of {type(module).__name__}: {' '.join(lines[:3])}"
        ) from error
    return module.eval().requires_grad_(False)
