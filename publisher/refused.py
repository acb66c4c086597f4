"""Frames that the broker refuses for good: set aside, so that they hold up and fail no later run.

    DIR/refused/<sequence>-<frame id>-<reason code>.refused

The reason is a part of the name, so that one rename sets a frame aside or takes it back: there is no moment
at which a kill could lose it, and none at which a full disk could forbid it. The folder is all publishers'.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, Tuple

from publisher.frame_files import Kept, read_header
from wire.errors import SettingsError
from wire.mqtt import pubacks

#: Refusals that stay until somebody changes something.
_REASONS = {
    pubacks.NOT_AUTHORIZED: "not authorised: the broker's ACL must let this user publish as this camera and "
    "read its answers",
    pubacks.TOPIC_NAME_INVALID: "the broker does not accept this topic's name",
    pubacks.PACKET_TOO_LARGE: "larger than the broker takes (Mosquitto: max_packet_size, message_size_limit)",
    pubacks.PAYLOAD_FORMAT_INVALID: "the broker does not accept this payload",
}
#: The others, such as 0x80 and 0x83, do not say whether they pass: so often refused is refused for good.
MOST_TRIES = 4


def is_final(reason_code: int, refusals: int) -> bool:
    """Whether to give up sending a frame.

    Args:
        reason_code: the broker's last refusal.
        refusals: how often the broker has refused the frame for a reason that does not pass.
    """
    return reason_code in _REASONS or (reason_code not in pubacks.PASSING and refusals >= MOST_TRIES)


def reason(reason_code: int) -> str:
    """A reason code in words for people."""
    return _REASONS.get(reason_code, f"the broker gave no reason but its code, 0x{reason_code:02x}")


@dataclass(frozen=True)
class Refused:
    """A frame that was set aside."""

    kept: Kept
    reason_code: int


def waiting_name(file: Path) -> str:
    """The name that a refused frame's file has where it waits to be sent."""
    return file.stem.rpartition("-")[0] + ".frame"


class RefusedFrames:
    """The folder of frames that were set aside. Several processes may use it at a time."""

    def __init__(self, spools: Path) -> None:
        """Name the folder.

        Args:
            spools: the folder that holds the spools of all publishers.
        """
        self.folder = spools / "refused"

    def open(self) -> None:
        """Make the folder, while there is room on the disk for it.

        Raises:
            OSError: it cannot be made.
        """
        self.folder.mkdir(exist_ok=True, mode=0o700)

    def take(self, kept: Kept, reason_code: int) -> None:
        """Move a waiting frame here.

        Raises:
            OSError: it stays where it was.
        """
        kept.file.replace(self.folder / f"{kept.file.stem}-{reason_code:02x}.refused")

    def __iter__(self) -> Iterator[Refused]:
        """All frames, in the order in which they came into the spool."""
        for _, file, _ in self._files():
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                yield Refused(read_header(file), _reason_code(file))

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(size for _, _, size in self._files())

    def _files(self) -> List[Tuple[int, Path, int]]:
        """The files, oldest first, each between the time it was written and its size."""
        found = []
        for file in self.folder.iterdir() if self.folder.exists() else ():
            if file.suffix == ".refused":
                with contextlib.suppress(FileNotFoundError):
                    about = file.stat()
                    found.append((about.st_mtime_ns, file, about.st_size))
        return sorted(found)


def _reason_code(file: Path) -> int:
    try:
        return int(file.stem.rpartition("-")[2], 16)
    except ValueError:
        raise SettingsError(f"{file}: this is no frame that was refused; remove it") from None
