"""Locks on files."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from tests.harness import is_open
from wire.files import lock


def test_a_disk_without_locks_is_an_error_that_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)  # such a disk is a network's
    file = tmp_path / "lock"
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        lock(file)
    assert file.exists()
    assert not is_open(file)


def test_a_lock_is_another_s_until_it_is_closed(tmp_path: Path) -> None:
    held = lock(tmp_path / "lock")
    assert held is not None
    with held:
        assert is_open(tmp_path / "lock")
        assert lock(tmp_path / "lock") is None
    again = lock(tmp_path / "lock")
    assert again is not None
    again.close()
