"""Exports for ONNX Runtime: each model once, by a child process, kept beside the weights.

choice ── key ──> nanofleet/KEY.json + KEY.onnx          there: used as they are, without PyTorch
                  └── not there: process ──> .KEY.onnx.part/ ──> KEY.onnx, then KEY.json

A child does it, so that a worker that serves meanwhile has neither PyTorch in its memory nor waits for the
interpreter. The key holds what the export depends on, and not which release of PyTorch has made it: each is
compared with PyTorch when it is made, and then serves also where there is another, or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple, TypeVar

from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice, is_checkpoint
from worker.engines.child import how_it_ended
from worker.engines.exports import failures
from worker.engines.exports.entry import Entry, find, put
from worker.engines.exports.folder import made_at, made_by_child, out_of_reach
from worker.engines.installed import has_torch
from worker.engines.sessions import Damaged
from worker.engines.without_torch import NeedsTorch, meant_by
from worker.models.checkpoint.advice import about_name
from worker.models.info import ALIASES, Model
from worker.models.overrides import check_sha256
from worker.models.weights import found_in, lock, remove_long_unused, remove_stale_parts

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Of the exported graph: a new number makes all exports again.
FORMAT = 4


class ExportError(NanofleetError):
    """The model loads, but cannot be brought into ONNX; PyTorch can still run it."""


def exported(
    choice: ModelChoice, weights_dir: Path, stop: Optional[threading.Event] = None, *, again: bool = False
) -> Tuple[Model, Path]:
    """A model as an ONNX file: uint8 [N, crop, crop, 3] -> float32 [N, classes], probabilities.

    Args:
        choice: which; a NAME, NAME@WEIGHTS or NAME@FILE. Its labels are the caller's business.
        weights_dir: where weights and exports are kept.
        stop: set to give up waiting for the export.
        again: make it even where there is one, which is kept until the new one is whole.

    Raises:
        ExportError: PyTorch cannot export it.
        NeedsTorch: there is no export that can be taken, and no PyTorch.
        SettingsError, NanofleetError: as `worker.models.loader.load_model` raises them; `stop` was set.
    """
    weights_dir = weights_dir.resolve()  # the child runs in another folder
    bare = _bare(choice)
    path = weights_dir / "nanofleet" / f"{_key(bare, choice.sha256)}.onnx"
    if choice.sha256 is not None:
        path = out_of_reach(path)
    remove_stale_parts(path.parent)
    model, why_not = (None, f"{path} is damaged") if again else find(path, weights_dir, choice.sha256)
    if model is None:
        _check_that_it_can_be_made(choice, path.parent, why_not)
        if os.access(path, os.F_OK) and not again:
            log.info("%s: %s", choice.model, why_not)
        make = partial(_export_once, choice, bare, weights_dir, stop=stop, again=again)
        path, new = made_at(path, choice.sha256 is not None, make)
        model = new
    with contextlib.suppress(OSError):  # another user's export: that one sees to it
        os.utime(path.with_suffix(".json"))
    return model, path


def opened(
    choice: ModelChoice,
    weights_dir: Path,
    open_it: Callable[[Model, Path], T],
    stop: Optional[threading.Event] = None,
) -> T:
    """Open an export, which is made again if it turns out to be damaged.

    Args:
        choice: which; see `exported`.
        weights_dir: where weights and exports are kept.
        open_it: has onnxruntime load the graph.
        stop: set to give up waiting for the export.

    Raises:
        Damaged: onnxruntime cannot load it, and it cannot be made again; or the new one neither.
        SettingsError, NanofleetError: as `exported` and `open_it` raise them.
    """
    try:
        return open_it(*exported(choice, weights_dir, stop))
    except Damaged as error:
        if not has_torch():  # it may be of another machine, whose onnxruntime is newer
            raise
        log.warning("%s; exporting it again", error)
    return open_it(*exported(choice, weights_dir, stop, again=True))


def _check_that_it_can_be_made(choice: ModelChoice, folder: Path, why: str) -> None:
    if has_torch():  # the child knows all names
        return
    name = choice.model.partition("@")[0]
    about = about_name(name) if name.strip() and not name.isidentifier() else None
    if about is not None:
        raise SettingsError(about)
    meant = meant_by(name, (entry.stem.rpartition("-")[0] for entry in found_in(folder, "*.json")))
    if meant is not None:
        raise SettingsError(f"unknown model {name!r}: did you mean {meant}?")
    raise NeedsTorch(choice, f"{choice.model}: {why}, and PyTorch, which makes one, is not installed")


def _bare(choice: ModelChoice) -> ModelChoice:
    """The parts of a choice that the export depends on: not labels nor threshold, nor the model's alias."""
    name, at, weights = choice.model.partition("@")
    if name.isidentifier():  # else it is no name, and the error shall say what was given
        name = ALIASES.get(name.lower(), name.lower())
    if is_checkpoint(weights):
        weights = str(Path(weights).resolve())
    others = dict.fromkeys(("labels", "sha256", "threshold"))
    return choice.model_copy(update={"model": f"{name}{at}{weights}", **others})


def _key(bare: ModelChoice, sha256: Optional[str]) -> str:
    """The name of an export, made of all that it depends on.

    Raises:
        SettingsError: the file of an own checkpoint cannot be read, or has not the SHA-256 that is demanded.
    """
    name, _, weights = bare.model.partition("@")
    ingredients: Dict[str, Any] = {"format": FORMAT, "choice": bare.model_dump(mode="json")}
    if is_checkpoint(weights):
        ingredients["choice"]["model"] = f"{name}@{check_sha256(Path(weights), sha256)}"
        ingredients["file"] = Path(weights).name  # the Model's `weights` says it
    digest = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()
    readable = re.sub(r"[^a-z0-9_]", "", name) or "model"
    return f"{readable}-{digest[:16]}"


def _export_once(
    choice: ModelChoice,
    bare: ModelChoice,
    weights_dir: Path,
    path: Path,
    *,
    stop: Optional[threading.Event],
    again: bool,
) -> Model:
    with lock(path):
        # Another worker may just have made it.
        model = None if again else find(path, weights_dir, choice.sha256)[0]
        if model is None:
            model = _export(choice, bare, weights_dir, path, stop)
            remove_long_unused(path.parent, "*.json", beside=".onnx")
    return model


def _export(
    choice: ModelChoice, bare: ModelChoice, weights_dir: Path, path: Path, stop: Optional[threading.Event]
) -> Model:
    free = failures.warn_of_little_memory(choice)
    wanted = bare.model_copy(update={"sha256": choice.sha256})
    given = [wanted.model_dump_json(), str(weights_dir)]
    with made_by_child(path, "worker.engines.exports.process", given, stop) as (graph, reply):
        if "entry" in reply:
            entry = Entry.model_validate(reply["entry"])
            put(path, graph, entry)
            return entry.model
    raise _error_of(choice, reply, free)


def _error_of(choice: ModelChoice, reply: Dict[str, Any], free: Optional[int]) -> NanofleetError:
    """The error of an export that came to nothing."""
    kind, says = reply.get("kind"), reply.get("error", "")
    if kind == "memory":
        return failures.out_of_memory(choice, free)
    if kind == "torch":
        return NeedsTorch(choice, f"{choice.model}: PyTorch, which exports it, {says}")
    if kind is None:
        code = reply["exit_code"]
        return failures.error_of(choice, code, free) or ExportError(
            f"the export {how_it_ended(code)}, without an error message"
        )
    errors = {"export": ExportError, "settings": SettingsError, "other": NanofleetError}
    return errors[kind](says)
