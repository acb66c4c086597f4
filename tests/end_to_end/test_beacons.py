"""A broker whose ACL was written before there were beacons, or by somebody who does not know of them."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from tests.harness import Mosquitto, WorkerProcess

MODEL = Path(__file__).parent.parent / "tools" / "files" / "torch_dynamo.onnx"


def test_a_worker_that_may_not_write_its_beacon_says_so_and_serves(
    mosquitto: Callable[..., Mosquitto],
    start_worker: Callable[..., WorkerProcess],
    root: str,
    tmp_path: Path,
) -> None:
    below = ("frames", "results", "rejects", "workers", "control")
    rights = "".join(f"topic readwrite {root}/{each}/#\n" for each in below)
    (tmp_path / "acl").write_text(rights)
    (tmp_path / "acl").chmod(0o644)
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    broker = mosquitto("allow_anonymous true", f"acl_file {tmp_path}/acl", "user root")
    worker = start_worker(broker.url, "--model", str(MODEL), "--labels", str(tmp_path / "labels.txt"))
    worker.wait_said(f"the broker refuses {root}/beacons/{worker.id} (0x87)")
