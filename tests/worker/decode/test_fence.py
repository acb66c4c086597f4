"""What a picture that takes its decoder over can reach: the pixels of its own frame."""

from __future__ import annotations

import contextlib
import io
import queue
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, List, Set, Tuple, Union

import numpy as np
import pytest
from PIL import Image

from publisher.shrinker import Shrinker
from tests.exploit import attempts, hole, picture, reached
from tests.faults.corpus import corpus
from tests.harness import need
from wire.decoder import child, fence
from wire.decoder.process import REPLY
from wire.picture.errors import Undecodable
from worker.decode.decoder import decoder_for
from worker.decode.image import decode
from worker.decode.pool import DecoderPool, Pixels
from worker.decode.preprocessing import Preprocessing
from worker.errors import CorruptImage, DecoderCrashed, FrameError, NotAnImage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fence is Linux's")

ROOT = Path(__file__).resolve().parents[3]
RECIPE = Preprocessing(resize=256, crop=224)
Outcome = Union[Pixels, FrameError]


class Attacked:
    """A pool of decoders that have the hole."""

    def __init__(self, pool: DecoderPool[str], done: queue.Queue[Tuple[str, Outcome]]) -> None:
        self.pool = pool
        self._done = done

    def decode(self, payload: bytes) -> Outcome:
        """What comes of a picture."""
        self.pool.submit("frame", payload)
        return self._done.get(timeout=30)[1]

    def detail(self, payload: bytes) -> str:
        """What a picture that was run tells."""
        outcome = self.decode(payload)
        assert isinstance(outcome, CorruptImage), outcome
        return str(outcome)


@pytest.fixture
def attacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Attacked]]:
    pools: List[DecoderPool[str]] = []
    failures: List[BaseException] = []

    def start(*, fenced: bool = True) -> Attacked:
        for name, value in hole(tmp_path, fence=fenced).items():
            monkeypatch.setenv(name, value)
        done: queue.Queue[Tuple[str, Outcome]] = queue.Queue()
        pool = DecoderPool[str](
            RECIPE,
            processes=1,
            slots=4,
            on_done=lambda job, outcome: done.put((job, outcome)),
            on_failure=failures.append,
        )
        pools.append(pool.__enter__())
        return Attacked(pool, done)

    yield start
    for pool in pools:
        pool.close()
    assert not failures


@pytest.fixture(scope="module")
def photo(photos: Path) -> bytes:
    return (photos / "rocket.jpg").read_bytes()


@pytest.fixture
def victim() -> Iterator[int]:
    """A process of the same user."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def port() -> Iterator[int]:
    """A server that a decoder has no business with."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_picture_reaches_nothing(
    attacked: Callable[..., Attacked], photo: bytes, victim: int, port: int, tmp_path: Path
) -> None:
    fenced = attacked()
    assert reached(fenced.detail(attempts(victim, port, tmp_path))) == set()
    assert isinstance(fenced.decode(photo), Pixels)
    assert not (tmp_path / "planted").exists()


def test_the_attempts_work_where_there_is_no_fence(
    attacked: Callable[..., Attacked],
    photo: bytes,
    victim: int,
    port: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And it is said, once, that there is none."""
    child._warn_once.cache_clear()
    open_to_all = attacked(fenced=False)
    found = reached(open_to_all.detail(attempts(victim, port, tmp_path)))
    assert found >= {"environ", "mem", "kill", "connect", "write", "unlink", "fork", "exec", "map code"}
    assert (tmp_path / "planted").exists()
    assert isinstance(open_to_all.decode(photo), Pixels)
    attacked(fenced=False)
    (said,) = caplog.messages
    assert said == (
        "decoders have no system call filter: the kernel takes no system call filter (Invalid argument); "
        "a picture that takes one over may do what this user may"
    )


#: Has `memory` and `replies`, the shared memory and the pipe, as an intruder would find them in its process.
LOOK_AROUND = """
frame = sys._getframe()
while "memory" not in frame.f_locals or "replies" not in frame.f_locals:
    frame = frame.f_back
memory, replies = frame.f_locals["memory"], frame.f_locals["replies"]
"""


@pytest.mark.parametrize("fenced", [True, False], ids=["fence", "no fence"])
def test_a_picture_changes_no_other_pictures_pixels(
    attacked: Callable[..., Attacked], photo: bytes, fenced: bool
) -> None:
    pool = attacked(fenced=fenced)
    before = pool.decode(photo)
    assert isinstance(before, Pixels)
    pool.detail(picture(LOOK_AROUND + "memory[:] = bytes(len(memory))\ntell('written')"))
    assert before.array.tobytes() == decode(photo, RECIPE).pixels
    after = pool.decode(photo)
    assert isinstance(after, Pixels)
    assert np.array_equal(before.array, after.array)


@pytest.mark.parametrize("fenced", [True, False], ids=["fence", "no fence"])
def test_a_picture_cannot_truncate_the_memory(
    attacked: Callable[..., Attacked], photo: bytes, fenced: bool
) -> None:
    """The parent, which reads it, would be killed by SIGBUS."""
    pool = attacked(fenced=fenced)
    tried = "tell(' '.join(str(fd) for fd in range(3, 64) if call('ftruncate', fd, 0) == 0))"
    assert pool.detail(picture(tried)) == ""
    assert isinstance(pool.decode(photo), Pixels)


def reply(reason: bytes = b"", detail: bytes = b"", size: int = 0, milliseconds: float = 1.0) -> bytes:
    return REPLY.pack(reason, detail, size, 640, 480, milliseconds, True)


@pytest.mark.parametrize(
    "said",
    [
        b"\xff" * REPLY.size,
        reply(b"no_reason"),
        reply(b"cannot_start"),
        reply(b"corrupt_image", b"caf\xe9"),
        reply(b"corrupt_image", b"two\nlines"),
        reply(size=1 << 30),
        reply(milliseconds=float("nan")),
        reply(milliseconds=-1.0),
        reply(milliseconds=1e300),
    ],
    ids=["noise", "reason", "start", "not ASCII", "lines", "size", "not a number", "negative", "long ago"],
)
def test_a_reply_that_cannot_be_read_costs_one_frame(
    attacked: Callable[..., Attacked], photo: bytes, said: bytes
) -> None:
    pool = attacked()
    outcome = pool.decode(picture(LOOK_AROUND + f"os.write(replies, {said!r})"))
    assert isinstance(outcome, DecoderCrashed)
    assert str(outcome) == "the decoder process gave a reply that cannot be read"
    assert isinstance(pool.decode(photo), Pixels)


def test_a_decoder_that_replies_unasked_is_replaced(attacked: Callable[..., Attacked], photo: bytes) -> None:
    """Else each of its answers would be taken for the next picture's."""
    pool = attacked()
    twice = 2 * reply(b"not_an_image", b"said twice")
    outcome = pool.decode(picture(LOOK_AROUND + f"os.write(replies, {twice!r})"))
    assert isinstance(outcome, NotAnImage)
    assert isinstance(pool.decode(photo), Pixels)


def test_a_decoder_that_ends_itself_costs_one_frame(attacked: Callable[..., Attacked], photo: bytes) -> None:
    pool = attacked()
    for number in range(3):
        outcome = pool.decode(picture(f"os._exit({number})"))
        assert isinstance(outcome, DecoderCrashed)
        assert str(outcome) == f"the decoder process ended with exit code {number}"
        assert isinstance(pool.decode(photo), Pixels)


def test_no_other_process_of_the_user_reads_a_decoder(attacked: Callable[..., Attacked]) -> None:
    """A process that is not dumpable belongs to root, as far as /proc is concerned."""
    pool = attacked()
    # The number that it had before the fence: to ask for it is not on the list.
    pid = pool.detail(picture("tell(str(pid))"))
    assert Path(f"/proc/{pid}/mem").stat().st_uid == 0


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
    with decoder_for(RECIPE, timeout=60, **limits) as decoder:
        for name, payload in varieties(photos):
            count += 1
            try:
                expected: Any = decode(payload, RECIPE, **limits)
            except Undecodable as error:
                expected = (error.reason, error.detail)
            try:
                found = decoder.decode(payload)
                outcome: Any = (found.memory.tobytes(), found.width, found.height, found.complete)
            except Undecodable as error:
                outcome = (error.reason, error.detail)
            assert outcome == expected, name
    assert count > 250


def test_what_it_stops_is_stopped_when_pictures_are_shrunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: bytes, victim: int, port: int
) -> None:
    for name, value in hole(tmp_path).items():
        monkeypatch.setenv(name, value)
    with Shrinker(100) as shrinker:
        attack = attempts(victim, port, tmp_path)
        shrunk = shrinker.shrink(attack)
        assert shrunk.content == attack
        assert reached(shrunk.kept) == set()
        assert len(shrinker.shrink(photo).content) < 10_000
        assert shrinker.shrink(picture("os._exit(3)")).kept == "the decoder process ended with exit code 3"
        assert len(shrinker.shrink(photo).content) < 10_000


def test_the_list_is_within_that_of_the_unit() -> None:
    """systemd's filter comes first: what it forbids, the fence cannot allow."""
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
