"""The demo's workers: processes as a user would start them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List

from rich.progress import Progress

from fleet.demo.settings import DemoSettings
from fleet.ports import free_port
from wire.broker import BrokerSettings
from wire.errors import DecodeError, NanofleetError
from wire.flags import flag_of
from wire.lengths import MAX_ANSWER_PACKET
from wire.messages import WorkerStatus
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery
from wire.printable import printable
from wire.settings import PASSWORD_VARIABLE, Settings, child_environment
from wire.waiting import wait_until

START_SECONDS, STOP_SECONDS = 300.0, 10.0


@dataclass
class Member:
    """One worker process of the demo."""

    worker_id: str
    metrics_port: int
    log: Path
    process: subprocess.Popen[bytes]

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])


class Workers:
    """The demo's worker processes. A context manager: entering starts them, leaving stops them."""

    def __init__(self, settings: DemoSettings) -> None:
        """Take the settings; entering starts the processes.

        Args:
            settings: with a broker that runs.
        """
        self._settings = settings
        self._online: Dict[str, WorkerStatus] = {}
        self.members: List[Member] = []

    def __enter__(self) -> Workers:
        self._folder = tempfile.TemporaryDirectory(prefix="nanofleet-demo-")
        try:
            for number in range(1, self._settings.workers + 1):
                with _signals_deferred():  # a process that has started must be in the list, to be stopped
                    self.members.append(self._start(f"demo-{number}"))
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for member in self.members:
            member.process.terminate()
        for member in self.members:
            try:
                member.process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
        self._folder.cleanup()

    def _start(self, worker_id: str) -> Member:
        settings, folder = self._settings, Path(self._folder.name)
        port = free_port()
        command = [sys.executable, "-m", "fleet", "worker"]
        # The workers need every setting by which the demo finds its broker.
        shared = set(BrokerSettings.model_fields) - set(Settings.model_fields)
        flags = {
            **{flag_of(name): getattr(settings, name) for name in sorted(shared)},
            "--group": "demo",
            "--worker-id": worker_id,
            "--model": settings.model,
            "--metrics-port": port,
            "--state-dir": folder,
        }
        command += [str(part) for flag in flags.items() if flag[1] is not None for part in flag]
        log = folder / f"{worker_id}.log"
        with log.open("wb") as output:
            # A session of its own: Ctrl-C in the terminal is the demo's, which then stops its workers.
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env=_worker_environment(), start_new_session=True
            )
        return Member(worker_id, port, log, process)

    def wait_online(self, progress: Progress) -> None:
        """Wait until every worker has announced itself.

        Raises:
            NanofleetError: one of them ended, or took too long; the text holds the end of its log.
        """
        settings, total = self._settings, len(self.members)
        task = progress.add_task(
            printable(f"starting {total} worker(s), loading {settings.model}"), total=total
        )
        with Connection(
            settings.open_broker(),
            "nanofleet-demo-watch",
            on_delivery=self._receive_status,
            subscriptions={settings.topics.worker("+"): 1},
            largest_packet=MAX_ANSWER_PACKET,
        ) as connection:
            connection.wait_connected(threading.Event())

            def check() -> None:
                connection.check()
                self.check()
                progress.update(task, completed=len(self._online))

            if not wait_until(lambda: len(self._online) == total, START_SECONDS, check=check):
                for late in self.members:
                    if late.worker_id not in self._online:
                        raise NanofleetError(f"worker {late.worker_id} took too long:\n{late.last_words()}")

    def check(self) -> None:
        """Raise if a worker has ended.

        Raises:
            NanofleetError: the text holds the end of its log.
        """
        for member in self.members:
            if member.process.poll() is not None:
                raise NanofleetError(f"worker {member.worker_id} ended:\n{member.last_words()}")

    def _receive_status(self, delivery: Delivery) -> None:
        with contextlib.suppress(DecodeError):  # the topic is open to others on a shared broker
            status = WorkerStatus.decode(delivery.payload)
            if status.state == "online" and status.worker in {m.worker_id for m in self.members}:
                self._online[status.worker] = status


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defer signals until the block has ended."""
    deferred: List[int] = []
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = [
        (signum, signal.signal(signum, lambda number, frame: deferred.append(number))) for signum in handled
    ]
    try:
        yield
    finally:
        for signum, handler in previous:
            signal.signal(signum, handler)
    for number in deferred:
        signal.raise_signal(number)


def _worker_environment() -> Dict[str, str]:
    """The environment without the variables that set the demo, but with the password."""
    environment = child_environment()
    if PASSWORD_VARIABLE in os.environ:
        environment[PASSWORD_VARIABLE] = os.environ[PASSWORD_VARIABLE]
    return environment
