"""Two workers that were started under one id, or seem so: the older one leaves, and both are named."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests.fleets import Fleet, on_the_embedded_broker
from tests.harness import WorkerProcess, statuses, wait_for
from tests.tiny import tiny_model


def test_two_workers_with_one_id_the_older_one_leaves(tmp_path: Path, fleet: Fleet) -> None:
    """On two machines, so that no lock tells."""
    first = fleet.worker()
    (tmp_path / "elsewhere").mkdir()
    flags = (*tiny_model(), "--status-interval", "0.2")
    second = WorkerProcess(tmp_path / "elsewhere", fleet.url, fleet.root, first.id, *flags)
    try:
        assert first.process.wait(60) == 4
        assert first.said(f"another worker started as {first.id!r}") or first.said("took the session over")
        second.wait_ready()
        listener = fleet.listen("workers/+")
        wait_for(lambda: len(listener.messages) >= 15, what="three seconds of statuses")
        assert second.process.poll() is None
    finally:
        assert second.stop() == 0


def test_a_status_that_others_have_forged_ends_no_later_start(fleet: Fleet) -> None:
    """Neither what is retained counts nor what waits in the session, whatever time it tells."""
    worker = fleet.worker("--status-interval", "0.5")
    listener = fleet.listen("workers/+")
    own = wait_for(lambda: statuses(listener.messages), what="a status")[-1]
    year_9999 = datetime(9999, 12, 31, tzinfo=timezone.utc)
    forged = own.model_copy(update={"instance": "another", "started_at": year_9999, "sent_at": year_9999})
    listener.publish(f"{fleet.root}/workers/{worker.id}", forged.encode(), retain=True)
    assert worker.process.wait(60) == 4
    assert worker.said(f"another worker started as {worker.id!r}, later than this one")
    others = [f"another, {number}" for number in range(3)]
    for instance in others:
        again = forged.model_copy(update={"instance": instance})
        listener.publish(f"{fleet.root}/workers/{worker.id}", again.encode(), retain=True)
    known = {own.instance, forged.instance, *others}
    worker.start()
    wait_for(
        lambda: [s.instance in known for s in statuses(listener.messages)].count(False) >= 4,
        60,
        "four statuses of its new life",
    )
    assert worker.process.poll() is None
    assert worker.stop() == 0


@on_the_embedded_broker
@pytest.mark.skipif(sys.version_info < (3, 9), reason="iotcore has no wheel for Python 3.8")
def test_two_workers_with_one_id_on_the_embedded_broker_are_named(tmp_path: Path, fleet: Fleet) -> None:
    """The broker, rumqttd, reports neither to the other."""
    first = fleet.worker()
    (tmp_path / "elsewhere").mkdir()
    second = WorkerProcess(tmp_path / "elsewhere", fleet.url, fleet.root, first.id, *tiny_model())
    try:
        first.wait_said(f"does another worker run as {first.id!r}?")
        second.wait_said(f"does another worker run as {first.id!r}?")
    finally:
        assert second.stop(timeout=40) == 1  # the session is the other's as well, and is not ended


def test_two_workers_with_one_id_on_one_machine(fleet: Fleet) -> None:
    first = fleet.worker()
    twin = subprocess.run(first.command, capture_output=True, text=True, timeout=60, check=False)
    assert twin.returncode == 4
    assert f"process {first.process.pid}" in twin.stderr
