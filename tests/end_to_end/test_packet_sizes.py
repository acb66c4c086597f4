"""A broker that names a Maximum Packet Size beyond what a packet can have: it has no limit."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.commanding import answers
from tests.fleets import Fleet
from tests.harness import nanofleet, wait_for
from tests.tiny import COFFEE
from tests.wire.servers import Boaster


def test_worker_observer_publisher_and_listeners_do_without_it(
    fleet: Fleet, photos: Path, tmp_path: Path
) -> None:
    with Boaster(fleet.url, 268_435_456) as broker:
        listener = fleet.listen("results/+", "cameras/+")
        worker = fleet.at(broker.url).worker("--observe")
        worker.wait_said("observing the cameras")
        where = ("--broker", broker.url, "--root", fleet.root)
        sent = nanofleet(
            "publish", str(photos / "coffee.png"), "--camera", "door", "--spool-dir", str(tmp_path), *where
        )
        assert sent.returncode == 0, sent.stderr
        assert answers(listener)[0].label == COFFEE
        wait_for(lambda: listener.on(f"{fleet.root}/cameras/door"), what="the camera's state")
        seen = nanofleet("cameras", "list", *where)
        assert (seen.returncode, "door" in seen.stdout) == (0, True), seen.stdout + seen.stderr
        assert worker.stop() == 0
