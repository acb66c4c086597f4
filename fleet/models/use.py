"""`nanofleet models use` and `models reset`: change the model of a running fleet, and wait until it has.

operator ── ModelCommand, retained ──> control topic ──> workers: load, swap
         <── WorkerStatus.change ──────────────────────

change.py gives one command and waits; canary.py tries it on a few workers first.
"""

from __future__ import annotations

from rich.console import Console

from fleet.console import open_console
from fleet.models.canary import use_with_canary
from fleet.models.change import nobody_can, put_back, retain, take_back, wait_for_all
from fleet.models.settings import ResetSettings, UseSettings
from fleet.workers.roster import listen_for_silent, online, roster
from fleet.workers.watch import Fleet
from wire.errors import NanofleetError


def use(settings: UseSettings) -> int:
    """Give the command, and wait for the workers.

    Returns:
        0 if every worker that should now runs the model, else 1.

    Raises:
        NanofleetError: the broker refused, or no worker is there to wait for.
    """
    console = open_console()
    canary = settings.canary > 0
    with Fleet(settings.open_broker(), settings.topics, timeout=settings.timeout, answers=canary) as fleet:
        _leave_out_silent(fleet, settings.timeout, console)
        if settings.canary and not settings.worker:
            return use_with_canary(fleet, settings, console)
        if settings.worker and settings.worker not in online(fleet):
            known = ", ".join(online(fleet)) or "no worker at all"
            raise NanofleetError(f"worker {settings.worker!r} is not online; online is {known}")
        topic = settings.topics.model_command(settings.worker)
        former = fleet.commands.get(topic, b"")
        command = retain(fleet, settings)
        workers = [settings.worker] if settings.worker else online(fleet)
        if not workers:
            raise NanofleetError("no worker is online; the command waits with the broker for those that come")
        alone = settings.worker is not None
        if wait_for_all(fleet, workers, command, settings.timeout, console, alone=alone):
            return 0
        if nobody_can(fleet, workers, command):
            console.print(f"No worker can run it: {put_back(fleet, topic, command, former)}")
            return 1
        which = f" --worker {settings.worker}" if alone else ""
        console.print(f"The command stays with the broker; nanofleet models reset{which} takes it back.")
        return 1


def reset(settings: ResetSettings) -> int:
    """Take the command back, and wait until nobody follows it.

    Returns:
        0 if nobody follows it any more, else 1.

    Raises:
        NanofleetError: the broker refused.
    """
    console = open_console()
    with Fleet(settings.open_broker(), settings.topics, timeout=settings.timeout) as fleet:
        topic = settings.topics.model_command(settings.worker)
        if topic not in fleet.commands:
            # Mosquitto shows none to a user that its ACL keeps from them; it refuses that user here.
            fleet.retain(topic, b"")
            console.print(f"There is no command on {topic}.")
            return 0
        _leave_out_silent(fleet, settings.timeout, console)
        workers = [settings.worker] if settings.worker else online(fleet)
        return 0 if take_back(fleet, {topic: workers}, settings.timeout, console) else 1


def _leave_out_silent(fleet: Fleet, timeout: float, console: Console) -> None:
    """Name the workers that are silent: they died with their broker, or hang, and nobody waits for them."""
    listen_for_silent(fleet, timeout)
    for entry in roster(fleet):
        if entry.state == "silent":
            console.print(f"{entry.name} is silent: this does not wait for it")
