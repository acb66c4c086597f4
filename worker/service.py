"""A worker's life: startup, serve, drain.

startup   the worker's id, the commands that the broker retains, the model
serve     a session with the broker, whose frames go through `worker.pipeline`
drain     nothing new; answer what is in hand, leave
"""

from __future__ import annotations

import contextlib
import functools
import logging
import resource
import signal
import threading
import time
from typing import Callable, Dict, Optional

import wire
from wire.broker import Broker
from wire.private import keep_memory_private
from wire.signals import stop_signals
from worker.engines.select import best_batch
from worker.life import Life
from worker.membership.identity import claim_worker_id
from worker.metrics import Metrics
from worker.metrics_server import serve_metrics
from worker.serving.commands import Commands
from worker.serving.first_command import read_commands
from worker.serving.inference import Inference
from worker.serving.open import open_serving
from worker.serving.switch import Switch
from worker.session import Session
from worker.settings import WorkerSettings
from worker.watchdog import do_alive, notify

log = logging.getLogger(__name__)

#: Files that a worker may have open at once, where the machine lets it.
MOST_OPEN_FILES = 65_536
#: Also for a worker in a shell's background, which has it ignore Ctrl-C.
HEEDED = (signal.SIGTERM, signal.SIGINT)
#: Seconds between two looks at whether to stop.
_STEP = 0.1
#: Seconds to wait for a broker at the start; a model is then loaded without knowing what is commanded.
BROKER_PATIENCE = 5.0


def run(
    settings: WorkerSettings,
    beside: Callable[[str], contextlib.AbstractContextManager[None]] = lambda worker_id: (
        contextlib.nullcontext()
    ),
) -> int:
    """Startup, serve, drain.

    Args:
        settings: the worker's.
        beside: what else runs in this process while the worker does, by the worker's id.

    Returns:
        The exit code, as `worker.membership.leave` says.

    Raises:
        NanofleetError: the worker cannot start, or cannot go on.
    """
    keep_memory_private()
    _allow_open_files()
    broker = settings.open_broker()
    if not settings.max_batch:
        suits = best_batch(settings.choice, settings.engine, settings.device)
        settings = settings.model_copy(update={"max_batch": suits})
    life, metrics = Life(), Metrics()
    with claim_worker_id(settings.state_dir, settings.worker_id) as worker_id, beside(worker_id):
        metrics.worker.info(
            {"worker": worker_id, "group": settings.group, "root": settings.root, "version": wire.__version__}
        )
        with _serve_metrics(metrics, settings, life) as metrics_url:
            if metrics_url:
                log.info("metrics on %s", metrics_url)
            inference = Inference(settings, metrics, life.fail)
            load = functools.partial(open_serving, settings=settings, inference=inference, life=life)
            switch = Switch(load, life.leaving)
            commands = _commands(settings, worker_id, switch)
            with stop_signals(life.leaving, always=HEEDED):
                retained = _read_commands(commands, broker, BROKER_PATIENCE, life)
            if life.leaving.is_set():
                return 0
            # Until the model is loaded a signal ends the process on the spot: it has no frame in hand.
            choices = commands.first_choices(retained)
            log.info("worker %s: loading %s", worker_id, choices[0].model)
            with contextlib.ExitStack() as parts:
                parts.enter_context(switch.opened(*choices))
                parts.enter_context(stop_signals(life.leaving, always=HEEDED))
                parts.enter_context(inference.running(switch.serving.engine.at_once))
                if retained is None:
                    _await_commands(commands, switch, broker, life)
                if life.leaving.is_set():
                    notify("STOPPING=1")
                    log.info("left with nothing in hand")
                    return 0
                session = Session(broker, settings, worker_id, switch, commands, metrics, metrics_url, life)
                # The engine first: what waits for it waits in the switch as well.
                session.watchdog.watch("engine", inference.waiting)
                session.watchdog.watch("decoders or the engine", switch.waiting)
                with session:
                    return _serve_and_leave(session, settings, life)


# --- startup ------------------------------------------------------------------------------------------


def _allow_open_files() -> None:
    """Each decoder costs some, and each connection to the metrics one; the usual soft limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _serve_metrics(
    metrics: Metrics, settings: WorkerSettings, life: Life
) -> contextlib.AbstractContextManager[str]:
    return serve_metrics(
        metrics,
        settings.metrics_host,
        settings.metrics_port,
        or_next="metrics_port" not in settings.model_fields_set,
        healthy=lambda: life.failure is None,
        ready=lambda: life.online and not life.leaving.is_set(),
    )


def _commands(settings: WorkerSettings, worker_id: str, switch: Switch) -> Commands:
    topics = [settings.topics.model_command(worker_id), settings.topics.model_command()]
    return Commands(
        [] if settings.ignore_control else topics,
        settings.choice,
        settings.weights_dir,
        settings.state_dir / f"{worker_id}.model",
        change_to=switch.change_to,
    )


def _read_commands(
    commands: Commands,
    broker: Broker,
    patience: float,
    life: Life,
    alive: Callable[[], object] = lambda: None,
) -> Optional[Dict[str, bytes]]:
    """The retained model commands; None if there is no broker in time."""
    if not commands.topics:
        return {}
    return read_commands(broker, commands.topics, patience=patience, stop=life.leaving, alive=alive)


def _await_commands(commands: Commands, switch: Switch, broker: Broker, life: Life) -> None:
    """Wait for a broker, and serve what it commands before there is a frame to answer."""
    notify("READY=1")
    retained = _read_commands(commands, broker, float("inf"), life, alive=lambda: notify("WATCHDOG=1"))
    if retained is None:  # told to stop
        return
    choices = commands.first_choices(retained)
    if not switch.serving.is_of(choices[0]):
        do_alive(lambda: switch.replace(*choices), life.leaving)


# --- serve, drain -------------------------------------------------------------------------------------


def _serve_and_leave(session: Session, settings: WorkerSettings, life: Life) -> int:
    """Serve until told to leave, then leave; at once when told a second time. Returns the exit code.

    Raises:
        KeyboardInterrupt: it was told a second time.
        BaseException: whatever ended a thread.
    """
    try:
        notify("READY=1")
        while not _stopped_within(min(1.0, settings.status_interval), life.leaving):
            session.look_after()
            session.look_around()
        life.check()
        return session.leave()
    except KeyboardInterrupt:
        session.leave_at_once()
        raise


def _stopped_within(seconds: float, stop: threading.Event) -> bool:
    """Wait, but not by `stop.wait`: before Python 3.11 a clock that is set back makes it wait for as long."""
    until = time.monotonic() + seconds
    while not stop.is_set() and time.monotonic() < until:
        time.sleep(min(_STEP, seconds))
    return stop.is_set()
