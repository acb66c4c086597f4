"""One command to change the model: give it, wait until the workers follow it, take it back."""

from __future__ import annotations

import uuid
from typing import Dict, List, Optional, Sequence

from rich.console import Console
from rich.table import Table

from fleet.models.settings import UseSettings
from fleet.workers.watch import Fleet
from wire.errors import DecodeError
from wire.messages import Change, ModelCommand


def retain(fleet: Fleet, settings: UseSettings) -> ModelCommand:
    """Give the command, to the fleet or to the worker that the settings name."""
    command = ModelCommand(id=uuid.uuid4().hex[:12], choice=settings.choice)
    fleet.retain(fleet.topics.model_command(settings.worker), command.encode())
    return command


def wait_for_all(
    fleet: Fleet,
    workers: Sequence[str],
    command: ModelCommand,
    timeout: float,
    console: Console,
    *,
    alone: bool,
) -> bool:
    """Wait until each worker follows the command or reports why not; print a table; whether all follow it."""
    followers = []
    table = Table("worker", "state", "model", "", box=None, pad_edge=False)
    for name in workers:
        if not fleet.statuses[name].accepts_control:
            table.add_row(name, "refuses", _serving(fleet, name), "it runs with --ignore-control")
        elif not alone and fleet.topics.model_command(name) in fleet.commands:
            why = f"it has a command of its own: nanofleet models reset --worker {name}"
            table.add_row(name, "keeps", _serving(fleet, name), why)
        else:
            followers.append(name)
    with console.status(f"waiting for {len(followers)} workers to run {command.choice.model}"):
        fleet.wait_for(lambda: all(_settled(fleet, name, command) for name in followers), timeout)
    served = 0
    for name in followers:
        change = _change(fleet, name, command)
        if fleet.statuses[name].state != "online":
            table.add_row(name, fleet.statuses[name].state, "", "it left before it had changed")
        elif change is None or change.state == "loading":
            table.add_row(name, "no answer", _serving(fleet, name), f"not within {timeout:g} s")
        else:
            served += change.state == "serving"
            table.add_row(name, change.state, _serving(fleet, name), change.detail)
    console.print(table)
    for sentence in sorted({sentence for name in followers for sentence in fleet.statuses[name].assumed}):
        console.print(f"assumed: {sentence}")
    return served == len(workers)


def nobody_can(fleet: Fleet, workers: Sequence[str], command: ModelCommand) -> bool:
    """Whether the command was tried, and failed with all that have tried it and are still there."""
    there = [name for name in workers if fleet.statuses[name].state == "online"]
    states = {change.state for change in (_change(fleet, name, command) for name in there) if change}
    return states == {"failed"}


def put_back(fleet: Fleet, topic: str, command: ModelCommand, former: bytes) -> str:
    """Restore the former command, unless another one is in force by now; returns a sentence for people."""
    if fleet.commands.get(topic) != command.encode():
        return "but somebody has given another command meanwhile, or has taken it back."
    fleet.retain(topic, former)
    if not former:
        return "the command is taken back, and there was none before."
    try:
        return f"the command before stands again, {ModelCommand.decode(former).choice.model}."
    except DecodeError:
        return "the command before stands again."


def take_back(fleet: Fleet, topics: Dict[str, List[str]], timeout: float, console: Console) -> bool:
    """Take commands back, and wait until none of the workers of each follows it; whether none does."""

    def followed() -> List[str]:
        still = []
        for topic, workers in topics.items():
            for name in workers:
                status = fleet.statuses.get(name)
                change = status.change if status and status.state == "online" else None
                # Now another command may be in force, one for the fleet, whose model has to be loaded.
                if change and (change.topic == topic or change.state == "loading"):
                    still.append(name)
        return still

    for topic in topics:
        fleet.retain(topic, b"")
    with console.status("waiting for the workers to go back"):
        fleet.wait_for(lambda: not followed(), timeout)
    for name in sorted({name for workers in topics.values() for name in workers}):
        if name in fleet.statuses:
            console.print(f"{name}  {'still ' if name in followed() else ''}{_serving(fleet, name)}")
    return not followed()


def _settled(fleet: Fleet, name: str, command: ModelCommand) -> bool:
    change = _change(fleet, name, command)
    return fleet.statuses[name].state != "online" or (change is not None and change.state != "loading")


def _change(fleet: Fleet, name: str, command: ModelCommand) -> Optional[Change]:
    change = fleet.statuses[name].change
    return change if change is not None and change.command == command.id else None


def _serving(fleet: Fleet, name: str) -> str:
    status = fleet.statuses[name]
    return f"{status.model}@{status.weights}, {status.engine}"
