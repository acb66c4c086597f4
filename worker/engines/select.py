"""Opens a model with the fastest engine, or with what `worker.engines.picking` picks, or with the next best.

PyTorch cannot use CUDA ──────────────────────────────────> ONNX Runtime, if that can
ONNX Runtime cannot use CUDA, which nobody has demanded ──> PyTorch, if that can      else ──> the CPU
an export is needed, and cannot be made ──────────────────> PyTorch
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from pathlib import Path
from typing import Callable, Optional, Tuple

from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.engines.base import Engine, EngineName, Pick, Precision, TwoClasses
from worker.engines.fastest.candidates import candidates
from worker.engines.fastest.choosing import Wish, open_fastest
from worker.engines.fastest.subject import Subject
from worker.engines.int8.calibration import calibration_of
from worker.engines.int8.graph import Int8, int8_of
from worker.engines.leftovers import remove_leftovers
from worker.engines.onnx.files import is_onnx
from worker.engines.picking import pick_engine, torch_device, torch_engine
from worker.engines.pytorch.opening import open_torch
from worker.engines.sessions import Damaged, DeviceUnusable
from worker.engines.without_torch import NeedsTorch
from worker.models.foreign import by_name
from worker.models.info import Model
from worker.models.overrides import relabelled
from worker.models.weights import remove_part

log = logging.getLogger(__name__)
#: Opens one model on a device, and with what may be said of why.
Open = Callable[[Pick], Tuple[Model, Engine]]


def best_batch(choice: ModelChoice, engine: EngineName, device: str) -> int:
    """The batch that gives the most frames a second where `open_model` would run this model.

    A GPU wants much to do at once. A CPU wants what its caches hold: on 2 cores MobileNet v2 answered about
    5% more frames in batches of 2 or 4 than in batches of 8.

    Raises:
        SettingsError: no such engine or device here.
    """
    return 4 if runs_on_cpu(choice, engine, device) else 16


def runs_on_cpu(choice: ModelChoice, engine: EngineName, device: str) -> bool:
    """Whether `open_model` would run this model on the CPU.

    Raises:
        SettingsError: no such engine or device here.
    """
    return pick_engine(engine, device, is_onnx(choice.model)).device == "cpu"


def open_model(
    choice: ModelChoice,
    *,
    engine: EngineName,
    device: str = "auto",
    max_batch: int,
    weights_dir: Path,
    precision: Precision = "half",
    calibration: Optional[Path] = None,
    race: bool = False,
    stop: Optional[threading.Event] = None,
) -> Tuple[Model, Engine]:
    """Load a model into the engine that is to run it.

    Args:
        choice: which model.
        engine: `auto` for the fastest that is installed for the device.
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        max_batch: frames in a batch, at most.
        weights_dir: where weights and exports are kept.
        precision: what the engine may compute in.
        calibration: a folder of frames, for `int8`.
        race: whether there is time to try which engine is the fastest, where that is not known yet.
        stop: set to give up waiting for an export, or a race.

    Raises:
        SettingsError: no such engine or device here; see `load_model` and `open_onnx` for the model.
        NanofleetError: the weights are not to be had, or `stop` was set.
    """
    own_onnx = is_onnx(choice.model)
    foreign = None if own_onnx or "@" in choice.model else by_name(choice.model)
    if foreign:
        raise SettingsError(foreign)
    remove_leftovers(weights_dir)
    if calibration and precision != "int8":
        log.warning("--calibration %s: left aside, because of --precision %s", calibration, precision)
    frames = calibration_of(calibration) if precision == "int8" and calibration else None
    pick = pick_engine(engine, device, own_onnx)
    if precision != "exact" and pick.device != "cpu":
        pick = pick._replace(precision="float16")
    if precision == "int8" and (pick.device != "cpu" or pick.engine == "torch"):
        pick = pick._replace(why=f"{pick.why}; int8 is for onnxruntime and openvino on a CPU")
    wish = Wish(engine, precision, max_batch, weights_dir, race, stop, frames)
    open_file = partial(_open_file, choice, wish=wish)
    with_torch = partial(open_torch, choice, max_batch=max_batch, weights_dir=weights_dir)
    open_export = partial(_open_export, choice, wish=wish)
    alone = pick.device == "cpu" or not candidates(engine, precision, pick.device)
    if own_onnx:
        opened = _or_on_cpu(open_file, pick, device)
    elif pick.engine == "torch" and alone:
        opened = with_torch(pick)
    elif engine in ("onnxruntime", "openvino"):
        opened = _or_on_cpu(open_export, pick, device)
    else:
        opened = _or_with_torch(open_export, with_torch, pick, device, choice.model)
    return _as_chosen(choice, *opened)


def _as_chosen(choice: ModelChoice, found: Model, engine: Engine) -> Tuple[Model, Engine]:
    """An opened model with the class names and the threshold that the choice gives instead."""
    model = relabelled(found, choice.labels)
    if choice.threshold is not None:
        model = model.model_copy(update={"threshold": choice.threshold})
    if len(model.classes) == 2 and len(found.classes) == 1:
        engine = TwoClasses(engine)
    for sentence in model.assumed:
        log.warning("%s: %s", choice.model, sentence)
    return model, engine


# Each engine imports what it needs: with ONNX Runtime, PyTorch never comes into this process.


def _open_file(choice: ModelChoice, pick: Pick, *, wish: Wish) -> Tuple[Model, Engine]:
    from worker.engines.onnx.file import open_onnx

    def open_it(pick: Pick) -> Tuple[Model, Engine]:
        return open_onnx(choice, pick, wish.max_batch, wish.weights_dir)

    # A file that is not pinned to its bytes was not tried, and is another in a moment.
    if pick.device != "cpu" or choice.sha256 is None:
        return open_it(pick)
    return open_fastest(Subject(choice=choice, sha256=choice.sha256), pick, wish, open_it)


def _open_export(choice: ModelChoice, pick: Pick, *, wish: Wish) -> Tuple[Model, Engine]:
    from worker.engines.export_engine import ExportEngine
    from worker.engines.exports.cache import opened

    def open_it(model: Model, path: Path) -> Tuple[Model, Engine]:
        shape = model.preprocessing.shape
        int8: Optional[Int8] = None

        def open_with(pick: Pick) -> Tuple[Model, Engine]:
            if pick.engine == "torch":
                try:
                    return open_torch(choice, pick, wish.max_batch, wish.weights_dir)
                except NeedsTorch as error:  # nobody has imported it before: another library may do
                    raise DeviceUnusable(error.fact) from error
            graph = int8.made(wish.stop) if int8 and pick.precision == "int8" else path
            try:
                return model, ExportEngine(graph, shape, pick, wish.max_batch, wish.weights_dir)
            except Damaged:
                if graph != path:  # the next start makes it again
                    remove_part(graph)
                raise

        if wish.calibration and pick.device == "cpu":
            int8 = int8_of(choice, model, path, wish.calibration)
        about = {"shape": shape, "seen_from": model.seen_from, "int8": int8}
        subject = Subject(choice=choice, device=pick.device, sha256=model.sha256, export=path, **about)
        return open_fastest(subject, pick, wish, open_with)

    return opened(choice, wish.weights_dir, open_it, wish.stop)


def _or_with_torch(
    open_it: Open, with_torch: Open, pick: Pick, device: str, name: str
) -> Tuple[Model, Engine]:
    """Open an export, or with PyTorch where there is none; on CUDA with what can use that, or on the CPU."""
    from worker.engines.exports.cache import ExportError

    try:
        if pick.engine == "torch":
            try:
                return open_it(pick)
            except DeviceUnusable as error:
                pick = pick._replace(
                    engine="onnxruntime", why=f"{error}; {pick.device}: onnxruntime is built for it"
                )
        return _or_on_cpu(open_it, pick, device, or_torch=True)
    except (ExportError, DeviceUnusable) as error:
        log.warning("%s: %s; running it with PyTorch", name, error)
        return with_torch(pick._replace(why=f"onnxruntime is faster, but {error}"))


def _or_on_cpu(open_it: Open, pick: Pick, device: str, *, or_torch: bool = False) -> Tuple[Model, Engine]:
    """Open with ONNX Runtime where that was picked, or on the CPU if its CUDA libraries are not there.

    Raises:
        DeviceUnusable: they are not, and PyTorch may take over, or CUDA was asked for.
        SettingsError: CUDA was asked for, and there is no PyTorch that could take over.
    """
    try:
        return open_it(pick)
    except DeviceUnusable as error:
        if device == "auto" and not (or_torch and torch_device(device)[0] != "cpu"):
            log.warning("%s; running it on the CPU", error)
            return open_it(Pick("onnxruntime", "cpu", f"{pick.why}; cpu: {error}"))
        if or_torch and torch_engine()[0] is None:
            raise SettingsError(str(error)) from error
        raise
