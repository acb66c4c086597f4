"""Verdicts as they are kept, beside the exports: NAME-KEY.engine, which a second start reads.

key      the model, its graph, how it is opened, what may serve, this machine's processor, its GPU and driver
content  the verdict, and the file's own name; another release of a library asks for a new one
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import stat
import time
from pathlib import Path
from typing import List, Optional

from pydantic import ValidationError

from labels import read_labels
from wire.files import PUBLIC, write_whole
from worker import cores
from worker.engines.base import EngineName, Precision
from worker.engines.fastest.gpu import gpu
from worker.engines.fastest.subject import Subject
from worker.engines.fastest.verdict import Verdict
from worker.engines.installed import releases
from worker.models.weights import remove_long_unused

log = logging.getLogger(__name__)

#: Of the content, and of how candidates are tried: a new number asks for new verdicts.
FORMAT = 5
_DAY = 86_400
_PROCESSOR = Path("/proc/cpuinfo")
#: Lines of it that tell processors apart: those of x86, and those of ARM.
_TELLING = re.compile(r"(vendor_id|cpu family|model|model name|stepping|flags|Features|CPU [a-z]+)\s*:")


def file_of(subject: Subject, engine: EngineName, precision: Precision, weights_dir: Path) -> Path:
    """Where the verdict on a model is kept, if there is one.

    Raises:
        SettingsError: the label file of an ONNX file cannot be used.
    """
    fields = subject.choice.model_dump(mode="json", exclude={"model", "labels", "sha256"})
    ingredients = {
        "format": FORMAT,
        "sha256": subject.sha256,
        "export": _graph_of(subject.export) if subject.export else [],
        "choice": fields,
        "labels": _number_of_labels(subject),
        "asked": [engine, precision, *([subject.int8.path.name] if subject.int8 else [])],
        "machine": machine(subject.device),
    }
    digest = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9_]", "", subject.name.partition("-")[0])[:64] or "model"
    return weights_dir / "nanofleet" / f"{readable}-{digest[:16]}.engine"


def _number_of_labels(subject: Subject) -> Optional[int]:
    """The number of names, by which an ONNX file of several outputs is served with another one of them."""
    labels = None if subject.export else subject.choice.labels
    return len(read_labels(labels)) if labels else None


def _graph_of(export: Path) -> List[object]:
    """What tells a graph from another of the same weights, as other releases of PyTorch export them."""
    with contextlib.suppress(OSError):
        return [export.stem, export.stat().st_size]
    return [export.stem]


def machine(device: str = "cpu") -> List[str]:
    """What tells this machine's processor from others, and its CUDA device."""
    try:
        lines = _PROCESSOR.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        lines = []
    kinds = {" ".join(line.split()) for line in lines if _TELLING.match(line)}
    found = [str(cores.available()), *sorted(kinds)]
    return found if device == "cpu" else [*found, "cuda", *gpu(device)]


def read(file: Path, device: str = "cpu") -> Optional[Verdict]:
    """A verdict that still holds on a device, if there is one."""
    try:
        # One that another user has planted, or a link to another model's, would have a library open a file
        # that it was not tried with.
        state = file.lstat()
        own = stat.S_ISREG(state.st_mode) and state.st_uid in (0, os.geteuid())
        if not own or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return None
        verdict = Verdict.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
    if verdict.file != file.name or verdict.releases != releases(device):
        return None
    if verdict.lasts_for_a_day:
        # Either way: its time is by the clock of the machine that has the disk.
        return verdict if abs(time.time() - state.st_mtime) < _DAY else None
    with contextlib.suppress(OSError):  # a read-only folder
        os.utime(file)
    return verdict


def write(file: Path, verdict: Verdict) -> None:
    """Keep a verdict, where that can be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = verdict.model_copy(update={"file": file.name}).model_dump_json()
        write_whole(file, content.encode(), PUBLIC, lasting=False)
    except OSError as error:
        log.warning("%s: %s: the engines are tried again at each start", file.parent, error.strerror)
        return
    remove_long_unused(file.parent, "*.engine")
