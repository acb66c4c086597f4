"""Locks on files."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from wire.files import lock


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_disk_without_locks_is_an_error_that_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)  # such a disk is a network's
    before = _open_files()
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        lock(tmp_path / "lock")
    assert _open_files() == before


def test_a_lock_is_another_s_until_it_is_closed(tmp_path: Path) -> None:
    held = lock(tmp_path / "lock")
    assert held is not None
    with held:
        assert lock(tmp_path / "lock") is None
    again = lock(tmp_path / "lock")
    assert again is not None
    again.close()
