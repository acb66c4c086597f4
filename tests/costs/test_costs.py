"""What a frame costs in our own parts, in instructions: a slow machine counts the same as a fast one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict

import pytest

from tests.costs.parts import PARTS, TIMES
from tests.harness import need

#: Instructions of each part, as a multiple of the reference's: a fifth more than was measured on Python 3.11.
#: Whoever makes a part cheaper lowers its number; a higher one needs a reason.
LIMITS = {
    "answer": 1.03,
    "decode": 1.01,
    "properties": 1.23,
    "received": 1.14,
    "published": 0.32,
    "unacked": 0.42,
    "unwrap": 0.12,
    "outbox": 0.17,
    "snapshots": 0.06,
    "scheduler": 0.71,
    "pacing": 0.16,
    "batcher": 0.40,
}

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the limits were measured on Python 3.11, and each differs"
)


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, float]:
    """Instructions of one run of each part, by callgrind."""
    folder = tmp_path_factory.mktemp("callgrind")
    command = [
        need("valgrind"),
        "--tool=callgrind",
        "--dump-before=getsid",
        f"--callgrind-out-file={folder}/out",
        sys.executable,
        "-m",
        "tests.costs.parts",
        *PARTS,
    ]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # The first dump holds all that came before the first part.
    dumps = sorted(folder.glob("out.*"), key=lambda dump: int(dump.suffix[1:]))[1:]
    assert len(dumps) == len(PARTS)
    return {name: _total(dump) / TIMES for name, dump in zip(PARTS, dumps)}


def _total(dump: Path) -> int:
    found = re.search(r"^(?:totals|summary): (\d+)", dump.read_text(errors="replace"), re.MULTILINE)
    assert found
    return int(found.group(1))


@pytest.mark.parametrize("part", LIMITS)
def test_a_part_costs_no_more_than_it_did(costs: Dict[str, float], part: str) -> None:
    ratio = costs[part] / costs["reference"]
    print(
        f"{part}: {costs[part]:,.0f} instructions, {ratio:.2f} of the reference's {costs['reference']:,.0f}"
    )
    assert ratio <= LIMITS[part]
