"""Members that `nanofleet provision` has made, each started in its own folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Set

from tests.fleet.provisioned import Client
from tests.harness import WorkerProcess
from tests.ports import free_port
from tests.tiny import tiny_model
from wire.messages import Result

#: What the member's own folder is for.
IN_FOLDER = ("sh", "-c", 'set -a; . ./member.env; exec "$@"', "sh", sys.executable, "-m", "fleet")


class Member(WorkerProcess):
    """A worker that is started in its member's folder, with a tiny model where the flags name none."""

    def __init__(self, home: Path, *flags: str) -> None:
        self.id = home.name
        self.metrics_port = free_port()
        self.log = home / "worker.log"
        self.command = [
            *(*IN_FOLDER, "worker", "--metrics-port", str(self.metrics_port)),
            *("--state-dir", str(home / "state"), *flags),
            *(() if "--model" in flags else tiny_model()),
        ]
        self.start()


def command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a member."""
    return subprocess.run(
        [*IN_FOLDER, *arguments], cwd=home, capture_output=True, text=True, check=False, timeout=120
    )


def answered(listener: Client) -> Set[str]:
    """The ids of the frames that have been answered."""
    heard = [m for m in list(listener.messages) if m.topic.startswith("nanofleet/results/")]
    return {Result.decode(message.payload).frame_id for message in heard}
