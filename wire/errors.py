"""Errors that end a command, shown to the user in one message.

    NanofleetError            exit code 1
    ├── SettingsError         2   a flag, variable, file or model name is wrong
    ├── ConnectionRefused     3   the broker answered, and refused
    │   └── ReadingRefused    3   … to a subscription
    ├── DuplicateMember       4   another member runs under this id
    └── DecodeError           1   a message on the wire breaks the contract

Their text says what is wrong, where, and what to do about it; no traceback follows it.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, ClassVar, Mapping, Sequence


class NanofleetError(Exception):
    """Base of the errors that are shown to the user in one message."""

    exit_code: ClassVar[int] = 1
    #: Whether a thread hangs, which would keep the interpreter from exiting: the process must end at once.
    ends_process: ClassVar[bool] = False


class SettingsError(NanofleetError):
    """A flag, an environment variable, a config file or a file it names is wrong."""

    exit_code = 2


#: These may pass by themselves, so that a supervisor should restart the member.
_PASSING = {
    *(errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE),
    *(errno.ENODEV, errno.ENOMEM, errno.ENOSPC, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT),
    socket.EAI_AGAIN,  # no name server answers yet
}


def failure_of(what: str, error: OSError) -> NanofleetError:
    """The error to raise where a file, folder or address that a setting names cannot be used.

    Args:
        what: the setting and its value, and what could not be done.
        error: what the system says.

    Returns:
        A SettingsError where the setting itself is wrong, and a plain NanofleetError where another try may
        find things changed: a port in use, an address that a VPN brings later, a disk that is full.
    """
    kind = NanofleetError if error.errno in _PASSING else SettingsError
    return kind(f"{what}: {error.strerror or error}")


class ConnectionRefused(NanofleetError):
    """The broker was reached and refused: password, certificate, protocol version, permission."""

    exit_code = 3


class ReadingRefused(ConnectionRefused):
    """The broker does not let this member read some topics."""

    def __init__(self, text: str, topics: Sequence[str]) -> None:
        """Name what is refused.

        Args:
            text: what is wrong.
            topics: those that it may not read until the broker's configuration changes.
        """
        super().__init__(text)
        self.topics = topics


class DuplicateMember(NanofleetError):
    """Another member of the fleet runs under the same id, so one of the two has to leave."""

    exit_code = 4


def reason_of(fault: Mapping[str, Any]) -> str:
    """The text of a fault that pydantic has found; of a ValueError, what it was raised with."""
    text: str = fault["msg"]
    return text[len("Value error, ") :] if fault["type"] == "value_error" else text


class DecodeError(NanofleetError):
    """A payload is not the message that its topic promises."""
