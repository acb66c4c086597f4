"""The emulated system is what the other tests take it for, and the kernel's numbers in it are ours."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, Dict

from tests.arm.boards import Board
from wire.decoder import fence

#: Of AT_HWCAP: what ARMv8.0 has not, and code that does not ask dies of.
_HWCAP = {"atomics": 1 << 8, "asimdhp": 1 << 10, "asimddp": 1 << 20}
_LOOK = """
import ctypes, importlib.util, json, os, platform, subprocess, sys
page = ["-c", "import os; print(os.sysconf('SC_PAGESIZE'))"]
print(json.dumps({
    "machine": platform.machine(),
    "page": os.sysconf("SC_PAGESIZE"),
    "child": int(subprocess.check_output([sys.executable, *page])),
    "hwcap": ctypes.CDLL(None).getauxval(16),
    "torch": importlib.util.find_spec("torch") is not None,
}))
"""
#: The dot product of ARMv8.2: sdot v0.4s, v1.16b, v2.16b; ret.
_DOT = """
import ctypes, mmap
code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write((0x4E829420).to_bytes(4, "little") + (0xD65F03C0).to_bytes(4, "little"))
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""


def test_the_board_is_the_one_it_is_said_to_be(system: Path, board: Board, tmp_path: Path) -> None:
    command = [*board.inside(system, tmp_path), "/usr/bin/python3", "-c", _LOOK]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, timeout=300)
    found: Dict[str, Any] = json.loads(ran.stdout)
    assert found["machine"] == "aarch64"
    assert found["page"] == found["child"] == board.page_size, "QEMU 9.0 and later know one size only"
    assert {name for name, bit in _HWCAP.items() if found["hwcap"] & bit} == {*_HWCAP} & {*board.features}
    assert not found["torch"]


def test_an_instruction_that_the_core_lacks_ends_a_program(
    system: Path, board: Board, tmp_path: Path
) -> None:
    command = [*board.inside(system, tmp_path), "/usr/bin/python3", "-c", _DOT]
    ended = subprocess.run(command, timeout=300).returncode
    assert ended == (0 if "asimddp" in board.features else -signal.SIGILL)


def test_the_decoders_fence_has_the_kernels_numbers(system: Path) -> None:
    header = (system / "usr/include/asm-generic/unistd.h").read_text()
    numbers = dict(re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", header, re.MULTILINE))
    checked = {
        **{"read": fence._READ, "write": fence._WRITE, "mmap": fence._MMAP},
        **{"mprotect": fence._MPROTECT, "madvise": fence._MADVISE},
    }
    ours = {name: pair[1] for name, pair in {**fence._FREE, **checked}.items()}
    assert ours == {name: int(numbers[name]) for name in ours}
