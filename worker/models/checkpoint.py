"""Checkpoints: tensors from a file, never code; and the module that they fit.

.safetensors ──────────────────────────> tensors ──> unwrap ──> number of classes ──> build, fill
.pth, .pt ── only if they hold tensors ──┘           wrappers,   from the shapes
                                                     prefixes
"""

from __future__ import annotations

import collections
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, Dict, List

import torch

from wire.errors import SettingsError

State = Dict[str, torch.Tensor]

_SAVE = "torch.save(model.state_dict(), 'weights.pth')"
# What training scripts put around a state dict, and before its names (DataParallel, torch.compile).
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "_orig_mod.")
# Classifiers in the middle of GoogLeNet and Inception v3, of use in training only.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# DenseNet's checkpoints are older than the rule that a module's name has no dot: norm.1 is norm1 now.
_DENSE_LAYER = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")


def read_state(path: Path) -> State:
    """The tensors of a checkpoint, by the names that torchvision's modules give them.

    Raises:
        SettingsError: the file cannot be read, or holds something else than a state dict; the text says what.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: Any = load_file(str(path))
        else:
            _refuse_torchscript(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # remarks on the format, for whoever saved it
                loaded = torch.load(str(path), map_location="cpu", weights_only=True)
    except (SettingsError, ModuleNotFoundError):
        raise
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    # Whatever an unpickler stumbles over in foreign bytes, it says that the file is not what it should be.
    except Exception as error:
        raise SettingsError(_explain(path, error)) from error
    for wrapper in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    tensors = isinstance(loaded, dict) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in loaded.items()
    )
    if not tensors or not loaded:
        raise SettingsError(f"{path}: it holds no state dict (names and tensors), but {_describe(loaded)}")
    return _rename(loaded)


def _rename(loaded: State) -> State:
    while prefixes := [p for p in _PREFIXES if all(name.startswith(p) for name in loaded)]:
        loaded = _like(loaded, {name[len(prefixes[0]) :]: value for name, value in loaded.items()})
    renamed = {}
    for name, value in loaded.items():
        dense_layer = _DENSE_LAYER.fullmatch(name)
        if not name.startswith(_AUXILIARY):
            renamed["".join(dense_layer.groups()) if dense_layer else name] = value
    return _like(loaded, renamed)


def _like(original: State, renamed: State) -> State:
    """With the versions of the modules beside the tensors, by which MNASNet tells its old checkpoints.

    What keeps no versions, as a .safetensors, is newer than those.
    """
    state: State = collections.OrderedDict(renamed)
    state._metadata = getattr(original, "_metadata", {"": {"version": 2}})  # type: ignore[attr-defined]
    return state


def _refuse_torchscript(path: Path) -> None:
    # First, because torch.load of PyTorch 1.13 would load it, whatever weights_only says.
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any("/code/" in name for name in archive.namelist()):
                raise SettingsError(
                    f"{path}: a TorchScript archive, which is code. Where it was made, save its tensors:\n"
                    f"  model = torch.jit.load({path.name!r})\n  {_SAVE}"
                )


def _explain(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        pickled = file.read(2).startswith((b"PK", b"\x80"))
    text = str(error)
    if pickled and isinstance(error, pickle.UnpicklingError) and ("Unsupported" in text or "GLOBAL" in text):
        return (
            f"{path}: a pickle of more than tensors, such as a whole module; reading it would run the code "
            "it holds. Where it was made, save its tensors instead:\n"
            f"  model = torch.load({path.name!r}, weights_only=False)\n  {_SAVE}"
        )
    lines = text.splitlines() or [""]
    return f"{path}: not a checkpoint, or a damaged one: {type(error).__name__}: {lines[0]}"


def _describe(loaded: Any) -> str:
    if isinstance(loaded, dict):
        return f"a dict with {', '.join(map(repr, list(loaded)[:5])) or 'nothing in it'}"
    return f"a {type(loaded).__name__}"


def classes_in(state: State, template: torch.nn.Module, path: Path) -> int:
    """The number of classes of a checkpoint's last layer.

    Args:
        state: as `read_state` gives it.
        template: the architecture, with any other number of classes.
        path: for the error.

    Raises:
        SettingsError: the tensors do not fit the architecture, whatever the number of classes.
    """
    expected = template.state_dict()
    problems: List[str] = []
    # Only training counts batches, and files from before torch 0.4.1 don't.
    missing = [n for n in expected if n not in state and not n.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in expected]
    resized = [n for n, value in expected.items() if n in state and state[n].shape != value.shape]
    # Of a last layer, only the first dimension depends on the classes: [classes, features] and [classes].
    heads = [n for n in resized if state[n].shape[1:] == expected[n].shape[1:] and state[n].dim() > 0]
    outputs = {int(state[name].shape[0]) for name in heads}
    others = [name for name in resized if name not in heads]
    if missing:
        problems.append(_some("it lacks", missing))
    if unknown:
        problems.append(_some("it has besides", unknown))
    if others or len(outputs) > 1 or len(heads) > 2:
        shapes = [f"{n} {tuple(state[n].shape)} for {tuple(expected[n].shape)}" for n in resized]
        problems.append(_some("other shapes", shapes))
    if problems:
        raise SettingsError(
            f"{path} does not hold the weights of {type(template).__name__}: {'; '.join(problems)}"
        )
    if outputs:
        return outputs.pop()
    # Nothing differs: the last tensor is the last layer's bias.
    return int(list(expected.values())[-1].shape[0])


def _some(what: str, names: List[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what} {', '.join(names[:3])}{more}"


def fill(module: torch.nn.Module, state: State, path: Path) -> torch.nn.Module:
    """Give a module its weights, and make it ready for inference.

    Raises:
        SettingsError: they do not fit.
    """
    try:
        module.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        lines = str(error).splitlines()
        raise SettingsError(
            f"{path} does not hold the weights of {type(module).__name__}: {' '.join(lines[:3])}"
        ) from error
    return module.eval().requires_grad_(False)
