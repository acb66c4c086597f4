"""A real worker in a real Home Assistant: its model is chosen there, and its death is seen."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Callable, List

from tests.harness import WorkerProcess, statuses, wait_for
from tests.homeassistant.conftest import Fleet
from tests.homeassistant.core import HomeAssistant
from tests.worker.seeded import seed_weights
from wire.messages import WorkerStatus


def test_a_model_is_chosen_and_a_killed_worker_turns_off(
    home: HomeAssistant,
    fleet: Callable[..., Fleet],
    start_worker: Callable[..., WorkerProcess],
    mosquitto_url: str,
    photos: Path,
    tmp_path: Path,
) -> None:
    some = fleet()
    seed_weights(tmp_path, "resnet18")
    flags = ("--weights-dir", str(tmp_path), "--engine", "torch", "--status-interval", "0.5")
    worker = start_worker(mosquitto_url, *flags)

    def told() -> List[WorkerStatus]:
        """Its statuses, of which Home Assistant is told what the observer would tell it."""
        found = [status for status in statuses(some.listener.messages) if status.worker == worker.id]
        for status in found[-1:]:
            some.announcer.worker(status)
        return found

    wait_for(told)
    prefix = f"{some.topics.root}_{worker.id}".replace("-", "_")
    home.wait_state(f"binary_sensor.{prefix}_connectivity", "on")
    home.wait_state(f"select.{prefix}_model", "efficientnet_lite0")
    some.listener.publish(some.topics.frames("door"), (photos / "rocket.jpg").read_bytes())
    wait_for(lambda: told()[-1].latency_seconds)
    wait_for(lambda: home.state(f"sensor.{prefix}_latency")["state"].replace(".", "").isdigit())

    for chosen in ("resnet18", "efficientnet_lite0"):
        home.call("select", "select_option", entity_id=f"select.{prefix}_model", option=chosen)

        def serves(chosen: str = chosen) -> bool:
            told()
            return bool(home.state(f"select.{prefix}_model")["state"] == chosen)

        wait_for(serves, 90, f"{chosen} serves")

    worker.process.send_signal(signal.SIGKILL)
    home.wait_state(f"binary_sensor.{prefix}_connectivity", "off")
    home.wait_state(f"select.{prefix}_model", "unavailable")
