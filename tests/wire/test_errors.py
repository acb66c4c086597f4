"""Which failures of a system call a supervisor should try again."""

from __future__ import annotations

import errno
import os
import socket

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


def test_a_name_server_that_does_not_answer_yet_is_no_wrong_setting() -> None:
    """So says the system at boot, before there is a network."""
    error = failure_of("--metrics-host nano", socket.gaierror(socket.EAI_AGAIN, "try again"))
    assert error.exit_code == 1
    assert failure_of("--metrics-host nnao", socket.gaierror(socket.EAI_NONAME, "no")).exit_code == 2
