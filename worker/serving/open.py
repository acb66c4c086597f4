"""Opening a model: tried, loaded, warm, with the decoders that it needs."""

from __future__ import annotations

import logging
import threading
from typing import Any, Callable, Dict

from wire.model_choice import ModelChoice
from worker.decode.decoder import Limits
from worker.decode.pool import DecoderPool
from worker.engines.close_calls import CloseCalls
from worker.engines.opened import Opened, files_of
from worker.engines.select import open_model
from worker.engines.shared.engine import SharedEngine
from worker.engines.trial import tried
from worker.life import Life
from worker.models.info import Model
from worker.serving.inference import Inference
from worker.serving.loaded import LoadedModel, Work
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)


#: Opens a choice as settings say, and gives up when the event is set.
OpenEngine = Callable[[ModelChoice, WorkerSettings, threading.Event], Opened]


def open_engine(choice: ModelChoice, settings: WorkerSettings, stop: threading.Event) -> Opened:
    """Load a model into an engine of this process, warm.

    Args:
        choice: which model.
        settings: how it is to be served.
        stop: when it is set, no trial and no export is waited for.

    Raises:
        NanofleetError: as `worker.engines.trial.tried` and `worker.engines.select.open_model` raise it.
    """
    how: Dict[str, Any] = {
        "engine": settings.engine,
        "device": settings.device,
        "max_batch": settings.max_batch,
        "weights_dir": settings.weights_dir,
        "stop": stop,
    }
    # A pin of a command may be that of whoever has put the file there.
    trusted = choice.sha256 is not None and choice == settings.choice
    with tried(choice, trusted=trusted, seconds=settings.trial_timeout, **how) as pinned:
        files = files_of(choice)
        model, engine = open_model(
            pinned, precision=settings.precision, calibration=settings.calibration, race=True, **how
        )
    engine.warm_up()
    return Opened(files, model, engine)


def open_serving(
    choice: ModelChoice,
    settings: WorkerSettings,
    inference: Inference,
    life: Life,
    open_it: OpenEngine = open_engine,
) -> LoadedModel:
    """Load a model into its engine, warm, with decoders that are not started yet.

    Args:
        choice: which model.
        settings: how it is to be served.
        inference: gets what comes out of the decoders, and the number of close calls.
        life: the worker's; when it is to leave, no trial and no export is waited for.
        open_it: opens it, in this process or in another.

    Raises:
        NanofleetError: as `open_it` raises it.
    """
    files, model, engine = open_it(choice, settings, life.leaving)
    log.info(
        "%s (%s), %d classes, by %s on %s: %s",
        model.name,
        model.weights,
        len(model.classes),
        engine.name,
        engine.device,
        engine.why,
    )
    if isinstance(engine, (CloseCalls, SharedEngine)):
        engine.count_by(inference.count_close_calls)
    decoders = _decoders(model, settings, inference, life)
    return LoadedModel(choice, files, model, engine, decoders)


def _decoders(model: Model, settings: WorkerSettings, inference: Inference, life: Life) -> DecoderPool[Work]:
    return DecoderPool(
        model.preprocessing,
        processes=settings.decoder_count,
        slots=settings.at_work,
        on_done=inference.decoded,
        on_failure=life.fail,
        limits=Limits(
            timeout=settings.decoder_timeout,
            memory=settings.decoder_bytes,
            max_pixels=settings.max_pixels,
            exact=settings.decode == "exact",
        ),
    )
