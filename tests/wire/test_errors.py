"""Which failures of a system call a supervisor should try again."""

from __future__ import annotations

import errno
import os

import pytest

from wire.errors import failure_of


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (errno.EADDRINUSE, 1),
        (errno.EADDRNOTAVAIL, 1),
        (errno.ENOSPC, 1),
        (errno.EROFS, 1),
        (errno.EACCES, 2),
        (errno.ENOTDIR, 2),
        (errno.ENOENT, 2),
    ],
)
def test_only_what_stays_wrong_is_a_wrong_setting(number: int, exit_code: int) -> None:
    error = failure_of("--state-dir /x", OSError(number, os.strerror(number)))
    assert str(error) == f"--state-dir /x: {os.strerror(number)}"
    assert error.exit_code == exit_code
