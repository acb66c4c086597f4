"""What a worker needs before it serves: open files, the metrics' address, the retained commands."""

from __future__ import annotations

import contextlib
import resource
from typing import Callable, Dict, Optional

from wire.broker import Broker
from worker.life import Life
from worker.metrics import Metrics
from worker.metrics_server import serve_metrics
from worker.serving.commands import Commands
from worker.serving.first_command import read_commands
from worker.serving.switch import Switch
from worker.settings import WorkerSettings
from worker.watchdog import do_alive, notify
from worker.worker import Worker

#: Files that a worker may have open at once, where the machine lets it.
MOST_OPEN_FILES = 65_536


def allow_open_files() -> None:
    """Raise the soft limit, often 1024: each decoder has some open, and each scrape of the metrics one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def metrics_served(
    metrics: Metrics, settings: WorkerSettings, life: Life
) -> contextlib.AbstractContextManager[str]:
    """Serve /metrics, /healthz and /readyz while the block lasts; yields the address, empty for none."""
    return serve_metrics(
        metrics,
        settings.metrics_host,
        settings.metrics_port,
        or_next="metrics_port" not in settings.model_fields_set,
        healthy=lambda: life.failure is None,
        ready=lambda: life.online and not life.leaving.is_set(),
    )


def commands_of(settings: WorkerSettings, worker_id: str, switch: Switch) -> Commands:
    """The commands to change a worker's model: its own topic's first, and the whole fleet's."""
    topics = [settings.topics.model_command(worker_id), settings.topics.model_command()]
    return Commands(
        [] if settings.ignore_control else topics,
        settings.choice,
        settings.weights_dir,
        settings.state_dir / f"{worker_id}.model",
        change_to=switch.change_to,
    )


def read_retained(
    worker: Worker, broker: Broker, timeout: float, alive: Callable[[], object] = lambda: None
) -> Optional[Dict[str, bytes]]:
    """The retained model commands, by topic; None if there is no broker in time, or the worker is to leave.

    Args:
        worker: whose commands they are.
        broker: where they are retained.
        timeout: seconds to wait for the broker.
        alive: called while it waits.
    """
    topics = worker.commands.topics
    if not topics:
        return {}
    return read_commands(broker, topics, timeout=timeout, stop=worker.life.leaving, alive=alive)


def await_commands(worker: Worker, broker: Broker) -> None:
    """Wait for a broker, and serve what it commands before there is a frame to answer."""
    notify("READY=1")
    retained = read_retained(worker, broker, float("inf"), alive=lambda: notify("WATCHDOG=1"))
    if retained is None:  # the worker is to leave
        return
    choices = worker.commands.first_choices(retained)
    if not worker.switch.serving.is_of(choices[0]):
        do_alive(lambda: worker.switch.replace(*choices), worker.life.leaving)
