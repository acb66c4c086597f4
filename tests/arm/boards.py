"""Boards as QEMU emulates them for a program: the core and the size of a page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, NamedTuple, Tuple

_ENTER = Path(__file__).with_name("enter.sh")
_CPUINFO = """\
processor\t: {index}
BogoMIPS\t: 108.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: {variant:#x}
CPU part\t: {part:#x}
CPU revision\t: {revision}

"""
_ARMV8_0 = ("fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "cpuid")


class Board(NamedTuple):
    """What tells one board's processor from another's."""

    #: QEMU's name of it.
    cpu: str
    page_size: int
    #: As its /proc/cpuinfo has them.
    variant: int
    part: int
    revision: int
    features: Tuple[str, ...]

    def inside(self, root: Path, folder: Path) -> List[str]:
        """What to put before a command, for it to run in a system on this board.

        Args:
            root: the system.
            folder: a folder of both systems, under the same path.
        """
        cpuinfo = [
            _CPUINFO.format(index=index, **{**self._asdict(), "features": " ".join(self.features)})
            for index in range(os.cpu_count() or 1)
        ]
        (folder / "cpuinfo").write_text("".join(cpuinfo))
        processor = [f"QEMU_CPU={self.cpu}", f"QEMU_PAGESIZE={self.page_size}"]
        namespaces = ["unshare", "--user", "--map-root-user", "--mount"]
        return ["env", *processor, *namespaces, "sh", str(_ENTER), str(root), str(folder)]


JETSON_NANO = Board("cortex-a57", 4096, 1, 0xD07, 1, _ARMV8_0)
RASPBERRY_PI_5 = Board(
    *("cortex-a76", 16384, 4, 0xD0B, 1),
    (*_ARMV8_0, "atomics", "fphp", "asimdhp", "asimdrdm", "lrcpc", "dcpop", "asimddp"),
)
