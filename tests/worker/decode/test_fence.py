"""What a picture that takes its decoder over can reach: what that process decodes, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from tests.exploit import attempts, hole, picture, reached
from tests.worker.decode.attacked import LOOK_AROUND, Attacked
from tests.worker.decode.pools import decode_here
from wire.decoder import child
from wire.decoder.shrinker import Shrinker
from worker.decode.pool import Pixels

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fence is Linux's")


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


@pytest.mark.parametrize("fenced", [True, False], ids=["fence", "no fence"])
def test_a_picture_changes_no_other_pictures_pixels(
    attacked: Callable[..., Attacked], photo: bytes, fenced: bool
) -> None:
    pool = attacked(fenced=fenced)
    before = pool.decode(photo)
    assert isinstance(before, Pixels)
    pool.detail(picture(LOOK_AROUND + "memory[:] = bytes(len(memory))\ntell('written')"))
    assert before.array.tobytes() == decode_here(photo).pixels
    after = pool.decode(photo)
    assert isinstance(after, Pixels)
    assert np.array_equal(before.array, after.array)


def test_a_picture_changes_no_later_picture(attacked: Callable[..., Attacked], photo: bytes) -> None:
    """Where it lies itself, the next one is written over it."""
    pool = attacked()
    found = "while 'room' not in frame.f_locals:\n    frame = frame.f_back\n"
    written = "frame.f_locals['room'][:] = b'!' * len(frame.f_locals['room'])\ntell('written')"
    assert pool.detail(picture(f"frame = sys._getframe()\n{found}{written}")) == "written"
    after = pool.decode(photo)
    assert isinstance(after, Pixels)
    assert after.array.tobytes() == decode_here(photo).pixels


@pytest.mark.parametrize("fenced", [True, False], ids=["fence", "no fence"])
def test_a_picture_cannot_truncate_the_memory(
    attacked: Callable[..., Attacked], photo: bytes, fenced: bool
) -> None:
    """The parent, which reads it, would be killed by SIGBUS."""
    pool = attacked(fenced=fenced)
    tried = "tell(' '.join(str(fd) for fd in range(3, 64) if call('ftruncate', fd, 0) == 0))"
    assert pool.detail(picture(tried)) == ""
    assert isinstance(pool.decode(photo), Pixels)


def test_no_other_process_of_the_user_reads_a_decoder(attacked: Callable[..., Attacked]) -> None:
    """A process that is not dumpable belongs to root, as far as /proc is concerned."""
    pool = attacked()
    # The number that it had before the fence: to ask for it is not on the list.
    pid = pool.detail(picture("tell(str(pid))"))
    assert Path(f"/proc/{pid}/mem").stat().st_uid == 0


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
