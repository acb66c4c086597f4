"""What `nanofleet models use` leaves on the control topic, by what the workers say of it."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Iterator, List

import pytest

from tests.fleet.members import change, publish_status, result
from tests.fleets import Fleet
from tests.harness import Listener, wait_for
from wire.messages import ModelCommand

FORMER = ModelCommand(id="former", choice={"model": "resnet50"})


class Using:
    """A fleet that runs by a former command, and `models use` with a typo in a process of its own."""

    def __init__(self, listener: Listener, url: str, root: str) -> None:
        self.listener, self.root, self.topic = listener, root, f"{root}/control/model"
        for name in ("nano-1", "nano-2"):
            publish_status(listener, root, name)
        publish_status(listener, root, "deaf", accepts_control=False)
        listener.publish(self.topic, FORMER.encode(), retain=True)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "fleet", "models", "use", "resnet81", "--timeout", "60"),
                *("--broker", url, "--root", root),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.typo = wait_for(lambda: self.commands()[1:], what="the command")[0].id

    def commands(self) -> List[ModelCommand]:
        return [ModelCommand.decode(m.payload) for m in self.listener.on(self.topic) if m.payload]

    def fail(self, name: str) -> None:
        failed = change(self.typo, "failed", detail="there is no such model")
        publish_status(self.listener, self.root, name, change=failed)

    def end(self) -> str:
        shown, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 1, shown
        return shown


@pytest.fixture
def using(mosquitto_url: str, root: str, fleet: Fleet) -> Iterator[Using]:
    used = Using(fleet.listen("control/model"), mosquitto_url, root)
    with used.process:
        yield used
        used.process.kill()


def test_a_worker_that_follows_no_commands_does_not_keep_a_typo_alive(using: Using) -> None:
    using.fail("nano-1")
    using.fail("nano-2")
    assert "the command before stands again, resnet50." in using.end()
    wait_for(lambda: using.commands()[-1] == FORMER, what="the former command")


def test_nor_does_one_that_leaves_meanwhile(using: Using) -> None:
    using.fail("nano-1")
    publish_status(using.listener, using.root, "nano-2", state="offline")
    assert "the command before stands again, resnet50." in using.end()
    wait_for(lambda: using.commands()[-1] == FORMER, what="the former command")


def test_a_command_that_one_can_follow_stays(using: Using) -> None:
    using.fail("nano-1")
    publish_status(using.listener, using.root, "nano-2", change=change(using.typo))
    assert "The command stays with the broker" in using.end()
    assert using.commands()[-1].id == using.typo


def test_a_command_that_another_has_given_meanwhile_stands(using: Using) -> None:
    other = ModelCommand(id="other", choice={"model": "resnet18"})
    using.listener.publish(using.topic, other.encode(), retain=True)
    using.fail("nano-1")
    using.fail("nano-2")
    assert "somebody has given another command meanwhile" in using.end()
    assert using.commands()[-1] == other


def test_a_canary_that_another_has_commanded_meanwhile_follows_that(
    mosquitto_url: str, root: str, fleet: Fleet
) -> None:
    topic = f"{root}/control/nano-1/model"
    listener = fleet.listen("control/nano-1/model")
    publish_status(listener, root, "nano-1")
    flags = ["--canary", "1", "--canary-frames", "1", "--timeout", "30"]
    command = [sys.executable, "-m", "fleet", "models", "use", "resnet81", *flags]
    other = ModelCommand(id="other", choice={"model": "resnet18"})
    with subprocess.Popen(
        [*command, "--broker", mosquitto_url, "--root", root], stdout=subprocess.PIPE, text=True
    ) as process:
        while not listener.messages and process.poll() is None:
            listener.publish(f"{root}/results/door", result().encode())
            time.sleep(0.1)
        given = ModelCommand.decode(listener.messages[0].payload).id
        listener.publish(topic, other.encode(), retain=True)
        publish_status(listener, root, "nano-1", change=change(given, "failed"))
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 1, shown
    assert "rolling back" in shown
    assert ModelCommand.decode(listener.messages[-1].payload) == other


def test_a_silent_worker_is_not_waited_for(mosquitto_url: str, root: str, fleet: Fleet) -> None:
    """It died with its broker, so that its last word still says online."""
    listener = fleet.listen("control/model")
    publish_status(listener, root, "dead", age=3600, lease_seconds=1)
    publish_status(listener, root, "nano-1")
    arguments = ["models", "use", "resnet50", "--timeout", "60", "--broker", mosquitto_url, "--root", root]
    with subprocess.Popen(
        [sys.executable, "-m", "fleet", *arguments], stdout=subprocess.PIPE, text=True
    ) as use:
        command = wait_for(lambda: listener.on(f"{root}/control/model"), what="the command")[0]
        done = change(ModelCommand.decode(command.payload).id)
        publish_status(listener, root, "nano-1", change=done)
        shown, _ = use.communicate(timeout=60)
    assert use.returncode == 0, shown
    assert "dead is silent: this does not wait for it" in shown
