"""Attacks by a member that was stolen: what it may write, it writes as it likes.

A camera writes frames and their properties, a worker statuses and answers, an operator commands; they, and
whoever gives a label file to others, choose the text that operators read. The tests here publish the worst of
each kind that was found, on real brokers, and look at the memory of those who read it and at what they show.

This module runs commands in little memory, so that one that takes as much as an attacker wants fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

#: Megabytes of address space for a command without a model: it runs in half of it.
COMMAND_MEMORY = 700

_DECODE = """
import json, resource, sys
from pathlib import Path
from wire import messages
from wire.errors import DecodeError
from worker.errors import FrameError
from worker.payload.reader import open_payload
read = open_payload if sys.argv[1] == "frame" else getattr(messages, sys.argv[1]).decode
folder = Path(sys.argv[3])
read((folder / "usual").read_bytes())
payloads = [(file.name, file.read_bytes()) for file in sorted(folder.glob("*.attack"))]
most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for name, payload in payloads:
    try:
        read(payload)
        said = ""
    except (DecodeError, FrameError) as error:
        said = str(error)
    print(json.dumps([name, said]), flush=True)
"""


def command_line(megabytes: int, *command: str) -> List[str]:
    """A command that cannot have more address space."""
    return ["sh", "-c", f'ulimit -v {megabytes << 10}; exec "$@"', "sh", *command]


def limited(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The nanofleet command in COMMAND_MEMORY."""
    return subprocess.Popen(
        command_line(COMMAND_MEMORY, sys.executable, "-m", "fleet", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def read_within(
    kind: str, megabytes: int, attacks: Dict[str, bytes], usual: bytes, folder: Path
) -> Dict[str, str]:
    """Read payloads in a process that has but so much memory for each.

    Args:
        kind: `frame`, or the message's class.
        megabytes: beyond what the process has once it has read `usual`.
        attacks: the payloads, by name.
        usual: a payload of that kind as it should be.
        folder: for files.

    Returns:
        By name, the error with which each was refused; empty where it was read.
    """
    for name, payload in attacks.items():
        (folder / f"{name}.attack").write_bytes(payload)
    (folder / "usual").write_bytes(usual)
    run = subprocess.run(
        [sys.executable, "-c", _DECODE, kind, str(megabytes << 20), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    said = dict(map(json.loads, run.stdout.splitlines()))
    assert run.returncode == 0, f"{kind}, after {list(said)}: {run.stderr[-2000:]}"
    return {name: said[f"{name}.attack"] for name in attacks}
