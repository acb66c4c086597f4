"""The limit of memory of a process that runs an ONNX graph: what it leaves on machines with many cores."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.worker.engines.exports import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limits")

#: Many cores' worth of threads, of which no memory is used.
SCRIPT = """
import mmap, resource, sys
from pathlib import Path
from worker import cores, memory
from worker.engines.limits import limit_memory

held, processors, wanted = (int(word) << 20 for word in sys.argv[1:])
cores.available = lambda: processors >> 20
memory.total = lambda: 256 << 30
threads = mmap.mmap(-1, held + 1, mmap.MAP_PRIVATE)
limit_memory([Path("x" * 300)])  # a name that no file system has: it has no size
mmap.mmap(-1, wanted, mmap.MAP_PRIVATE)
"""


@pytest.mark.parametrize(
    ("held", "processors", "wanted", "refused"),
    [
        *((0, 1, 1500, False), (0, 1, 2500, True)),
        *((3000, 1, 1500, False), (3000, 1, 2500, True)),
        *((0, 16, 2500, False), (0, 16, 3500, True)),
    ],
)
def test_what_threads_of_many_cores_take_is_left(
    held: int, processors: int, wanted: int, refused: bool
) -> None:
    command = [sys.executable, "-c", SCRIPT, *map(str, (held, processors, wanted))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ("Cannot allocate memory" in done.stderr, done.returncode) == (refused, int(refused)), done.stderr
