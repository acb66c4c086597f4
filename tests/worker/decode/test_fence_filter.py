"""The list of system calls that a decoder may make: enough for every picture, and no more."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, Set, Tuple

import pytest
from PIL import Image

from tests.faults.corpus import corpus
from tests.harness import need
from tests.worker.decode.pools import RECIPE, decode_here
from wire.decoder import fence
from wire.picture.errors import Undecodable
from worker.decode.decoder import Limits, decoder_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fence is Linux's")


ROOT = Path(__file__).resolve().parents[3]


def varieties(photos: Path) -> Iterator[Tuple[str, bytes]]:
    """Every format, in every way in which decoding differs, whole and cut; and all that is hostile."""
    with Image.open(photos / "coffee.png") as opened:
        photo = opened.convert("RGB").resize((300, 200))
    exif = Image.Exif()
    exif[0x0112] = 6

    def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    for kind in ("JPEG", "PNG", "WEBP"):
        for mode in ("RGB", "L", "CMYK", "RGBA", "LA", "P", "1", "I;16"):
            with contextlib.suppress(OSError, ValueError, KeyError):  # no such mode in this format
                for options in (
                    {"exif": exif},
                    {"progressive": True},
                    {"lossless": True},
                    {"optimize": True},
                ):
                    picture = saved(photo.convert(mode), kind, **options)
                    yield f"{kind} {mode} {options}", picture
                    yield f"{kind} {mode} {options}, cut", picture[: len(picture) * 3 // 4]
    moving: Any = {"save_all": True, "append_images": [photo.rotate(90)]}
    for kind in ("MPO", "PNG", "WEBP"):
        yield f"{kind}, moving", saved(photo, kind, **moving)
    small = [saved(photo.resize((96, 64)), kind) for kind in ("JPEG", "PNG", "WEBP")]
    for hostile in corpus(*small, "replies"):
        if not hostile.costly:
            yield hostile.name, hostile.bytes_for("frame")


def test_every_picture_fares_the_same_behind_the_fence(photos: Path) -> None:
    """What a codec asks of the kernel for some pictures, or what Python imports late, would be missing."""
    limits: Any = {"memory": 4 << 30, "max_pixels": 8_000_000}  # of memory so much that it ends nothing
    count = 0
    with decoder_for(RECIPE, Limits(timeout=60, **limits)) as decoder:
        for name, payload in varieties(photos):
            count += 1
            try:
                expected: Any = decode_here(payload, **limits)
            except Undecodable as error:
                expected = (error.reason, error.detail)
            try:
                found = decoder.decode(payload)
                outcome: Any = (found.memory.tobytes(), found.width, found.height, found.complete)
            except Undecodable as error:
                outcome = (error.reason, error.detail)
            assert outcome == expected, name
    assert count > 250


def test_the_list_is_within_that_of_the_unit() -> None:
    """The filter of systemd comes first: what it forbids, the fence cannot allow."""
    unit = (ROOT / "deploy" / "systemd" / "nanofleet-worker.service").read_text(encoding="utf-8")
    assert "SystemCallFilter=@system-service\n" in unit

    def calls(group: str) -> Set[str]:
        listed = subprocess.run(
            [need("systemd-analyze"), "syscall-filter", group], capture_output=True, text=True, check=True
        )
        names = {line.strip() for line in listed.stdout.splitlines()[1:] if not line.strip().startswith("#")}
        return set().union(*(calls(name) if name.startswith("@") else {name} for name in names if name))

    needed = {"prctl", "memfd_create", "read", "write", "mmap", "mprotect", "madvise", *fence._FREE}
    # Of Linux 4.18, which systemd 252 does not list; without it, threads and malloc do the same more slowly.
    assert needed - calls("@system-service") <= {"rseq"}


AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003, "arm": 0x40000028}


def verdict(code: bytes, arch: str, number: int, *arguments: int) -> bool:
    """Whether a filter allows a call: a kernel that runs it, for the machine that this is not."""
    call = struct.pack("<IIQ6Q", number, AUDIT_ARCH[arch], 0, *arguments, *[0] * (6 - len(arguments)))
    lines = list(struct.iter_unpack("=HBBI", code))
    at = word = 0
    while True:
        operation, yes, no, value = lines[at]
        at += 1
        if operation == 0x20:
            (word,) = struct.unpack_from("<I", call, value)
        elif operation == 0x06:
            assert value in (0x7FFF0000, 0x00050001)
            return value == 0x7FFF0000
        else:
            at += yes if {0x15: word == value, 0x35: word >= value, 0x45: word & value}[operation] else no


#: Numbers as in the kernel's arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
@pytest.mark.parametrize(
    (
        "machine",
        "read",
        "write",
        "mmap",
        "mprotect",
        "madvise",
        "futex",
        "openat",
        "socket",
        "execve",
        "clone",
    ),
    [
        ("x86_64", 0, 1, 9, 10, 28, 202, 257, 41, 59, 56),
        ("aarch64", 63, 64, 222, 226, 233, 98, 56, 198, 221, 220),
    ],
)
def test_the_filter_of_each_machine(
    machine: str,
    read: int,
    write: int,
    mmap: int,
    mprotect: int,
    madvise: int,
    futex: int,
    openat: int,
    socket: int,
    execve: int,
    clone: int,
) -> None:
    code = fence._program(*fence._MACHINES[machine], 0, 4)
    private, anonymous, run = 0x02, 0x20, 4
    allowed = [
        (read, 0),
        (write, 4),
        (futex,),
        (mmap, 0, 4096, 3, private | anonymous, 2**64 - 1),
        (mprotect, 0, 4096, 3),
        (madvise, 0, 4096, 4),
    ]
    denied = [
        *((read, fd) for fd in (1, 2, 3, 4)),
        *((write, fd) for fd in (0, 1, 2, 3)),
        *((number,) for number in (openat, socket, execve, clone)),
        (mmap, 0, 4096, 3 | run, private | anonymous),
        (mmap, 0, 4096, 1, private, 3),
        (mprotect, 0, 4096, 1 | run),
        (madvise, 0, 4096, 100),
        (madvise, 0, 4096, 101),
    ]
    assert [call for call in allowed if not verdict(code, machine, *call)] == []
    assert [call for call in denied if verdict(code, machine, *call)] == []
    everything = [number for number in range(600) if verdict(code, machine, number)]
    assert len(everything) < 20
    others = set(AUDIT_ARCH) - {machine}
    assert not any(verdict(code, other, number) for other in others for number in range(600))
    assert not any(verdict(code, machine, 0x40000000 + number) for number in range(600)), "x32"
