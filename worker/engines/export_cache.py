"""Exports for ONNX Runtime: each model once, by a child process, kept beside the weights.

choice ── key ──> nanofleet/KEY.json + KEY.onnx          there: used as they are, without PyTorch
                  └── not there: export_process ──> .KEY.onnx.part/ ──> KEY.onnx, then KEY.json

A child does it, so that a worker that serves meanwhile has neither PyTorch in its memory nor waits for the
interpreter. The key holds what the export depends on, and not which release of PyTorch has made it: each is
compared with PyTorch when it is made, and then serves also where there is another, or none.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from pydantic import ValidationError

from wire.clock import SET_AFTER
from wire.errors import NanofleetError, SettingsError
from wire.files import part_of
from wire.model_choice import ModelChoice, is_checkpoint
from wire.private import writers
from worker.engines import export_end
from worker.engines.child import cleaning_up_first, how_it_ended, run_child
from worker.engines.picking import has_torch, needs_torch
from worker.models.info import ALIASES, Model
from worker.models.overrides import check_sha256
from worker.models.weights import lock, remove_part, remove_stale_parts

log = logging.getLogger(__name__)

#: Of the exported graph: a new number makes every export anew.
FORMAT = 3
#: Seconds after which an export that nobody used is removed.
KEPT = 30 * 86_400


class ExportError(NanofleetError):
    """The model loads, but cannot be brought into ONNX; PyTorch can still run it."""


def exported(
    choice: ModelChoice, weights_dir: Path, stop: Optional[threading.Event] = None
) -> Tuple[Model, Path]:
    """A model as an ONNX file: uint8 [N, crop, crop, 3] -> float32 [N, classes], probabilities.

    Args:
        choice: which; a NAME, NAME@WEIGHTS or NAME@FILE. Its labels are the caller's business.
        weights_dir: where weights and exports are kept.
        stop: set to give up waiting for the export.

    Raises:
        ExportError: PyTorch cannot export it.
        SettingsError, NanofleetError: as `worker.models.loader.load_model` raises them; `stop` was set.
    """
    weights_dir = weights_dir.resolve()  # the child runs in another folder
    bare = _bare(choice)
    folder = _folder(weights_dir)
    remove_stale_parts(folder)
    path = folder / f"{_key(bare)}.onnx"
    if choice.sha256 is not None:
        path = _out_of_reach(path)
    model = _read(path)
    if model is None:
        if not has_torch():
            raise needs_torch(choice.model, "is not installed")
        try:
            model = _export_once(bare, weights_dir, path, stop)
        except PermissionError as error:  # another user's lock, or half of an export
            path = _temporary_folder(error) / path.name
            model = _export_once(bare, weights_dir, path, stop)
    with contextlib.suppress(OSError):  # another user's export: that one sees to it
        os.utime(path.with_suffix(".json"))
    if choice.sha256 is not None and model.sha256 != choice.sha256:
        raise SettingsError(
            f"the weights of {choice.model} have the SHA-256 {model.sha256}, "
            f"and not {choice.sha256} as --sha256 demands"
        )
    return model, path


def _out_of_reach(path: Path) -> Path:
    """Where an export lies, or shall lie, that nobody else can have made: it says itself of what it is."""
    path = path.parent.resolve() / path.name  # a link that leads there may lead elsewhere soon
    existing = [each for each in (path.parent, path, path.with_suffix(".json")) if each.exists()]
    reason = next(filter(None, map(writers, existing)), "")
    if not reason:
        return path
    log.warning(
        "%s: under --sha256 no export is taken from there, and it is made again at each start", reason
    )
    return _made_temporary_folder() / path.name


def forget(path: Path) -> None:
    """Remove an export that turned out to be damaged."""
    with contextlib.suppress(FileNotFoundError):  # another worker has noticed it too
        path.with_suffix(".json").unlink()


def _bare(choice: ModelChoice) -> ModelChoice:
    """What the export depends on: not labels nor threshold, nor by which of its names the model is called."""
    name, at, weights = choice.model.partition("@")
    if name.isidentifier():  # else it is no name, and the error shall say what was given
        name = ALIASES.get(name.lower(), name.lower())
    if is_checkpoint(weights):
        weights = str(Path(weights).resolve())
        check_sha256(Path(weights), choice.sha256)
    others = dict.fromkeys(("labels", "sha256", "threshold"))
    return choice.model_copy(update={"model": f"{name}{at}{weights}", **others})


def _key(bare: ModelChoice) -> str:
    name, _, weights = bare.model.partition("@")
    ingredients: Dict[str, Any] = {"format": FORMAT, "choice": bare.model_dump(mode="json")}
    if is_checkpoint(weights):
        ingredients["choice"]["model"] = f"{name}@{check_sha256(Path(weights), None)}"
        ingredients["file"] = Path(weights).name  # the Model's `weights` says it
    digest = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()
    readable = re.sub(r"[^a-z0-9_]", "", name) or "model"
    return f"{readable}-{digest[:16]}"


def _read(path: Path) -> Optional[Model]:
    try:
        model = Model.model_validate_json(path.with_suffix(".json").read_bytes())
    except (OSError, ValidationError):
        return None
    return model if path.exists() else None


def _export_once(bare: ModelChoice, weights_dir: Path, path: Path, stop: Optional[threading.Event]) -> Model:
    with lock(path):
        model = _read(path)  # another worker may just have made it
        if model is None:
            model = _export(bare, weights_dir, path, stop)
            _clean(path.parent)
    return model


def _export(bare: ModelChoice, weights_dir: Path, path: Path, stop: Optional[threading.Event]) -> Model:
    part = part_of(path)
    free = export_end.warn_of_little_memory(bare.model)
    level = logging.getLevelName(log.getEffectiveLevel())
    with cleaning_up_first():
        try:
            remove_part(part)
            # Of the folder's owner alone, as temporary files are: PyTorch leaves some.
            part.mkdir(mode=0o700)
            graph = part / "model.onnx"
            arguments = [bare.model_dump_json(), str(weights_dir), str(graph), level, str(Path.cwd())]
            reply = run_child(
                "worker.engines.export_process", arguments, stop=stop, environment={"TMPDIR": str(part)}
            )
            if "model" in reply:
                graph.replace(path)
                # Last, because an entry counts from here on; whole, as it is small enough for one write.
                path.with_suffix(".json").write_text(json.dumps(reply["model"]), encoding="utf-8")
                return Model.model_validate(reply["model"])
        finally:
            remove_part(part)
    if reply.get("kind") == "memory":
        raise export_end.out_of_memory(bare.model, free)
    if "error" not in reply:
        code = reply["exit_code"]
        raise export_end.error_of(bare.model, code, free) or ExportError(
            f"the export {how_it_ended(code)}, without a word"
        )
    errors = {"export": ExportError, "settings": SettingsError, "other": NanofleetError}
    raise errors[reply["kind"]](reply["error"])


def _clean(folder: Path) -> None:
    for entry in folder.glob("*.json"):
        with contextlib.suppress(OSError):  # it is another user's, or another worker was faster
            written = entry.stat().st_mtime
            # One of 1970 was written before the machine heard of the time.
            if written > SET_AFTER.timestamp() and time.time() - written > KEPT:
                log.info("removing %s, which nobody used for %d days", entry.stem, KEPT // 86_400)
                for path in (entry, entry.with_suffix(".onnx")):
                    path.unlink()


def _folder(weights_dir: Path) -> Path:
    folder = weights_dir / "nanofleet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        return _temporary_folder(error)


def _temporary_folder(reason: OSError) -> Path:
    log.warning("%s: %s: the export is made again at each start", reason.filename, reason.strerror)
    return _made_temporary_folder()


@lru_cache(maxsize=None)
def _made_temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="nanofleet-exports-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
