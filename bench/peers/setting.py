"""How a peer is set up: what the sweep tries, and what a server that is given our engine reads.

A setting travels in the environment, which reaches all of a peer's processes; mosec has its own flags.
"""

from __future__ import annotations

import json
import os
from typing import Dict, List, NamedTuple, Tuple

_VARIABLE = "PEER_SETTING"


class Setting(NamedTuple):
    """One setting."""

    #: Processes that run the engine, and threads that each of them runs it in.
    workers: int
    threads: int
    #: Frames in a batch, at most.
    batch: int
    #: Processes before them, and what these do; none where there is nothing to choose.
    before: int = 0
    doing: str = ""

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        before = f", {self.doing}: {self.before}" if self.doing else ""
        return f"workers: {self.workers} of {threads}, batches of {self.batch}{before}"

    def variables(self) -> Dict[str, str]:
        """For a server's environment."""
        return {_VARIABLE: json.dumps(self)}


def given() -> Setting:
    """The setting that this process was started with."""
    return Setting(*json.loads(os.environ[_VARIABLE]))


def for_litserve(cores: int) -> List[Setting]:
    """One worker on all cores or one a core; one HTTP server or, as is its default, one a worker."""
    return [
        Setting(workers, threads, batch, servers, "HTTP servers")
        for workers, threads in _workers(cores)
        for batch in (4, 8)
        for servers in sorted({1, workers})
    ]


def for_mosec(cores: int) -> List[Setting]:
    """One worker on all cores with large batches, or one a core with small ones; decoders before or none."""
    return [
        Setting(workers, threads, 8 if threads == cores else 4, decoders, "decoders")
        for workers, threads in _workers(cores)
        for decoders in sorted({0, 1, cores})
    ]


def for_ray(cores: int) -> List[Setting]:
    """One replica on all cores, or one a core."""
    return [Setting(workers, threads, batch) for workers, threads in _workers(cores) for batch in (4, 8)]


def _workers(cores: int) -> List[Tuple[int, int]]:
    return sorted({(1, cores), (cores, 1)})
