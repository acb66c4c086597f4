"""A broker whose ACL was written before there were beacons, or by somebody who does not know of them."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from tests.fleets import Fleet
from tests.harness import Mosquitto


def test_a_worker_that_may_not_write_its_beacon_says_so_and_serves(
    mosquitto: Callable[..., Mosquitto],
    fleet: Fleet,
    tmp_path: Path,
) -> None:
    below = ("frames", "results", "rejects", "workers", "control")
    rights = "".join(f"topic readwrite {fleet.root}/{each}/#\n" for each in below)
    (tmp_path / "acl").write_text(rights)
    (tmp_path / "acl").chmod(0o644)
    broker = mosquitto("allow_anonymous true", f"acl_file {tmp_path}/acl", "user root")
    worker = fleet.at(broker.url).worker()
    worker.wait_said(f"the broker refuses {fleet.root}/beacons/{worker.id} (0x87)")
