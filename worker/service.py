"""A worker's life: startup, serve, drain.

startup   the worker's id, the commands that the broker retains, the model
serve     a session with the broker, whose frames go through `worker.pipeline`
drain     nothing new; answer what is in hand, leave
"""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
from typing import Callable, Collection, ContextManager

import wire
from wire.broker import Broker
from wire.camera_settings import read_cameras
from wire.private import keep_memory_private
from wire.signals import stop_signals
from wire.waiting import wait_until
from worker.camera_notes import CameraNotes
from worker.cameras import Cameras
from worker.engines.select import best_batch
from worker.life import Life
from worker.membership.identity import claim_worker_id
from worker.metrics import Metrics
from worker.serving.inference import Inference
from worker.serving.open import OpenEngine, open_engine, open_serving
from worker.serving.switch import Switch
from worker.session import Session
from worker.settings import WorkerSettings
from worker.startup import allow_open_files, await_commands, commands_of, metrics_served, read_retained
from worker.watchdog import notify
from worker.worker import Worker

log = logging.getLogger(__name__)

#: What runs beside a worker, by the worker's id.
Beside = Callable[[str], ContextManager[object]]
#: Also for a worker in a shell's background, which has it ignore Ctrl-C.
HEEDED = (signal.SIGTERM, signal.SIGINT)
#: Seconds between two looks at whether to stop.
_STEP_SECONDS = 0.1
#: Seconds to wait for a broker at the start; a model is then loaded without knowing what is commanded.
BROKER_TIMEOUT = 5.0


def run(
    settings: WorkerSettings,
    life: Life,
    beside: Beside = contextlib.nullcontext,
    *,
    open_it: OpenEngine = open_engine,
    heeded: Collection[int] = HEEDED,
) -> int:
    """Startup, serve, drain.

    Args:
        settings: the worker's.
        life: says, once the worker has left, whether it restarts.
        beside: what else runs in this process while the worker does, by the worker's id.
        open_it: opens a model in its engine.
        heeded: the signals that have it leave, whatever its parent does with them.

    Returns:
        The exit code, see `worker.membership.leave`.

    Raises:
        NanofleetError: the worker cannot start, or cannot go on.
    """
    keep_memory_private()
    allow_open_files()
    broker = settings.open_broker()
    if not settings.max_batch:
        suits = best_batch(settings.choice, settings.engine, settings.device)
        settings = settings.model_copy(update={"max_batch": suits})
    metrics = Metrics()
    metrics.certificate_ends = broker.credentials.ends
    with claim_worker_id(settings.state_dir, settings.worker_id) as worker_id, beside(worker_id):
        metrics.serving.worker.info(
            {"worker": worker_id, "group": settings.group, "root": settings.root, "version": wire.__version__}
        )
        with metrics_served(metrics, settings, life) as metrics_url:
            if metrics_url:
                log.info("metrics on %s", metrics_url)
            inference = Inference(settings, metrics, life.fail)
            load = functools.partial(
                open_serving, settings=settings, inference=inference, life=life, open_it=open_it
            )
            switch = Switch(load, life.leaving)
            commands = commands_of(settings, worker_id, switch)
            notes = CameraNotes(settings.state_dir / f"{worker_id}.cameras")
            file = read_cameras(settings.cameras) if settings.cameras else {}
            cameras = Cameras(settings, file, notes)
            worker = Worker(worker_id, settings, switch, cameras, commands, metrics, metrics_url, life)
            return _load_and_serve(worker, inference, broker, heeded)


def _load_and_serve(worker: Worker, inference: Inference, broker: Broker, heeded: Collection[int]) -> int:
    """Load the model that is commanded, serve it, and drain. Returns the exit code."""
    life, switch = worker.life, worker.switch
    with stop_signals(life.leaving, always=heeded):
        retained = read_retained(worker, broker, BROKER_TIMEOUT)
    if life.leaving.is_set():
        return 0
    # Until the model is loaded a signal ends the process on the spot: it has no frame in hand.
    choices = worker.commands.first_choices(retained)
    log.info("worker %s: loading %s", worker.id, choices[0].model)
    with contextlib.ExitStack() as parts:
        parts.enter_context(switch.opened(*choices))
        worker.report_model()
        signals = parts.enter_context(stop_signals(life.leaving, always=heeded))
        parts.enter_context(inference.running(switch.serving.engine.at_once))
        if retained is None:
            await_commands(worker, broker)
        if life.leaving.is_set():
            notify("STOPPING=1")
            log.info("left with nothing in hand")
            return 0
        session = Session(broker, worker)
        _watch(session, inference, worker)
        with session:
            code = _serve_and_leave(session, worker)
    life.restarts = life.restarts and not signals  # a signal that came meanwhile wants it gone
    return code


def _watch(session: Session, inference: Inference, worker: Worker) -> None:
    """Watch the engine and the decoders.

    A front end trusts the engine process, which ends when a batch hangs (`worker.engines.shared.alarm`), and
    waits for the next one as long as that takes to load.
    """
    watch, switch = session.watchdog.watch, worker.switch
    if worker.settings.processes > 1:
        watch("decoders", lambda: 0.0 if inference.stalled_for() else switch.stalled_for())
        return
    # The engine first: what waits for it waits in the switch as well.
    watch("engine", inference.stalled_for)
    watch("decoders or the engine", switch.stalled_for)


def _serve_and_leave(session: Session, worker: Worker) -> int:
    """Serve until a signal or an action, then leave; at once at the second signal. Returns the exit code.

    Raises:
        KeyboardInterrupt: a second signal came.
        BaseException: whatever ended a thread.
    """
    life, pause = worker.life, min(1.0, worker.settings.status_interval)
    try:
        notify("READY=1")
        while not wait_until(life.leaving.is_set, pause, step=min(_STEP_SECONDS, pause)):
            session.check()
            session.post_checks()
        life.check()
        return session.leave()
    except KeyboardInterrupt:
        session.leave_at_once()
        raise
