"""`nanofleet models export`: a model as one ONNX file, which a worker without PyTorch serves."""

from __future__ import annotations

import logging
import os
import shlex
import stat
from pathlib import Path
from typing import Tuple

from fleet.files import put
from fleet.models.settings import ExportSettings
from wire.errors import SettingsError, failure_of
from wire.files import PUBLIC, locked
from wire.install import how_to_install
from wire.printable import show
from worker.engines.child import cleaning_up_first
from worker.engines.exports.cache import opened
from worker.engines.onnx.describe import check_flags, described
from worker.engines.onnx.file import read_back
from worker.engines.onnx.files import is_onnx
from worker.engines.without_torch import NeedsTorch
from worker.models.foreign import by_name
from worker.models.info import Model
from worker.models.overrides import relabelled

log = logging.getLogger(__name__)


def export(settings: ExportSettings) -> int:
    """Write the file, or leave what was there; returns the exit code.

    Raises:
        SettingsError: there is no such model, or it has no names for its classes; the file cannot be there.
        NanofleetError: the weights are not to be had, or cannot be exported; or the disk is full.
    """
    choice, file = settings.choice, settings.file
    if is_onnx(choice.model):
        raise SettingsError(f"{choice.model} is an ONNX file already: give it as --model where it shall run")
    about = None if "@" in choice.model else by_name(choice.model)
    if about:
        raise SettingsError(about)
    target = _target(file)  # before the minute that an export may take
    check_flags(choice)
    try:
        found, graph = opened(choice, settings.weights_dir, _checked)
    except NeedsTorch as error:
        raise SettingsError(
            f"{error.fact}. Run this command where PyTorch is; to have it here: {how_to_install('worker')}"
        ) from error
    model = relabelled(found, choice.labels)
    if choice.threshold is not None:
        model = model.model_copy(update={"threshold": choice.threshold})
    for sentence in model.assumed:
        log.warning("%s: %s", choice.model, sentence)
    made = described(graph, model)
    read_back(file, made, settings.weights_dir)
    try:
        _write(target, made.content)
    except OSError as error:
        raise failure_of(f"{file} cannot be written", error) from error
    megabytes = len(made.content) / 1e6
    show(f"{file}  {megabytes:.1f} MB  {model.name}@{model.weights}, {len(model.classes)} classes")
    show(f"SHA-256  {made.sha256}")
    show("On a machine without PyTorch (pip install '.[onnx]'), once the file is there:")
    show(f"  nanofleet worker --model {shlex.quote(file.name)} --sha256 {made.sha256}")
    return 0


def _checked(model: Model, graph: Path) -> Tuple[Model, Path]:
    """An export, if onnxruntime can load it."""
    from worker.engines.onnx_engine import open_session  # it takes a second to import

    open_session(graph, "cpu", graph.parent)
    return model, graph


def _target(file: Path) -> Path:
    """Where the file shall be: a link stays one, and leads to the new file."""
    target = Path(os.path.realpath(file))
    try:
        if not target.parent.is_dir():
            raise SettingsError(f"{file}: there is no folder {target.parent}")
        if target.exists() and not target.is_file():
            raise SettingsError(
                f"{file} is {'a folder' if target.is_dir() else 'no file'}: give another name"
            )
    except OSError as error:  # for example, its name is too long, or the folder may not be read
        raise failure_of(f"{file} cannot be written", error) from error
    return target


def _write(target: Path, content: bytes) -> None:
    """Put the file there, one export after the other; it keeps the mode of the one that it replaces."""
    with locked(target.parent), cleaning_up_first():
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        put(target, content, PUBLIC if mode is None else mode)
        if mode is not None and mode != stat.S_IMODE(target.stat().st_mode):  # less, by the umask
            target.chmod(mode)
