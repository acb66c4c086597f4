"""Downloads from a local server that serves, cuts, corrupts and stalls."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from pathlib import Path
from typing import Dict, Iterator, List

import pytest

from tests.harness import closed, wait_for
from wire.errors import NanofleetError, SettingsError
from worker.models.weights import fetch, remove_stale_parts, sha256_of, warn_of_another

CONTENT = bytes(range(256)) * 20_000
NAME = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"
ROOT = Path(__file__).resolve().parents[3]


class Archive(http.server.ThreadingHTTPServer):
    """What it does depends on the first part of the path: serve, cut, corrupt, stall, slow, missing."""

    daemon_threads = False  # so that closing it waits for them

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: List[str] = []
        self.ended = threading.Event()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Archive

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        how = self.path.split("/")[1]
        if how == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if how == "slow":
            for start in range(0, len(CONTENT), len(CONTENT) // 10):
                self.wfile.write(CONTENT[start : start + len(CONTENT) // 10])
                time.sleep(0.1)
        elif how in ("cut", "stall"):
            self.wfile.write(CONTENT[:100_000])
            if how == "stall":
                self.server.ended.wait(30)
        else:
            self.wfile.write(CONTENT if how == "serve" else CONTENT[::-1])

    def log_message(self, *_: object) -> None:
        """Not among the test's output."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that was killed
            super().handle()


@pytest.fixture
def archive() -> Iterator[Archive]:
    with Archive() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join()


def files(folder: Path) -> List[str]:
    """What a download has left; its lock is no file of weights."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_downloaded_once(
    archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "not" / "yet" / "there"
    for _ in range(2):
        path = fetch(f"{archive.url}/serve/{NAME}", folder)
        assert path == folder / NAME
        assert path.read_bytes() == CONTENT
    assert archive.requests == [f"/serve/{NAME}"]
    assert files(folder) == [NAME]
    assert f"downloading {NAME} (5 MB)" in caplog.text
    assert capfd.readouterr().out == ""
    assert sha256_of(path) == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("cut", "ended after|IncompleteRead"),
        ("corrupt", "has the SHA-256"),
        ("stall", "timed out"),
        ("missing", "404"),
    ],
)
def test_what_does_not_come_whole_leaves_nothing(
    how: str, says: str, archive: Archive, tmp_path: Path
) -> None:
    url = f"{archive.url}/{how}/{NAME}"
    with pytest.raises(NanofleetError, match=says) as raised:
        fetch(url, tmp_path, stalled=0.5)
    assert f"fetch    {url}" in str(raised.value)
    assert f"put it   {tmp_path / NAME}" in str(raised.value)
    assert raised.value.exit_code == 1
    assert files(tmp_path) == []
    assert fetch(f"{archive.url}/serve/{NAME}", tmp_path).read_bytes() == CONTENT


def test_a_name_without_a_hash_is_taken_as_it_comes(archive: Archive, tmp_path: Path) -> None:
    assert fetch(f"{archive.url}/corrupt/net.pth", tmp_path).read_bytes() == CONTENT[::-1]


def start_fetching(url: str, folder: Path) -> subprocess.Popen[bytes]:
    script = """
        import sys
        from pathlib import Path
        from worker.models.weights import fetch

        fetch(sys.argv[1], Path(sys.argv[2]))
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), url, str(folder)], cwd=ROOT)


def test_two_processes_at_once_download_once(archive: Archive, tmp_path: Path) -> None:
    processes = [start_fetching(f"{archive.url}/slow/{NAME}", tmp_path) for _ in range(2)]
    assert [process.wait(30) for process in processes] == [0, 0]
    assert archive.requests == [f"/slow/{NAME}"]
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("planted", ["link", "file"])
def test_a_planted_part_file_is_neither_followed_nor_written_through(
    planted: str, archive: Archive, tmp_path: Path
) -> None:
    """By somebody who may write in the folder, to have another file of the worker's user overwritten."""
    folder, victim = tmp_path / "weights", tmp_path / "victim"
    folder.mkdir()
    victim.write_bytes(b"precious")
    part = folder / f".{NAME}.part"
    if planted == "link":
        part.symlink_to(victim)
    else:
        os.link(victim, part)
    assert fetch(f"{archive.url}/serve/{NAME}", folder).read_bytes() == CONTENT
    assert victim.read_bytes() == b"precious"
    assert files(folder) == [NAME]


def test_a_file_that_is_not_what_its_name_says_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / NAME
    warn_of_another(path, hashlib.sha256(CONTENT).hexdigest())
    warn_of_another(tmp_path / "net.pth", "0" * 64)
    assert caplog.text == ""
    warn_of_another(path, "0" * 64)
    assert (
        f"{path}: somebody has put another file there than its name says; its SHA-256 is 000" in caplog.text
    )


def test_a_download_that_was_killed_counts_for_nothing(archive: Archive, tmp_path: Path) -> None:
    with start_fetching(f"{archive.url}/stall/{NAME}", tmp_path) as process:
        wait_for(lambda: any(path.stat().st_size for path in tmp_path.iterdir()), what="the first bytes")
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / NAME).exists()
    assert files(tmp_path) != []
    # What it left goes with the next download, of whatever file.
    fetch(f"{archive.url}/corrupt/net.pth", tmp_path)
    assert files(tmp_path) == ["net.pth"]
    assert fetch(f"{archive.url}/serve/{NAME}", tmp_path).read_bytes() == CONTENT
    assert files(tmp_path) == [NAME, "net.pth"]


@pytest.fixture
def offline() -> Iterator[None]:
    """A network that refuses every connection at once."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        proxies: Dict[str, str] = {"http": proxy, "https": proxy}
        urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler(proxies)))
        yield
    urllib.request.install_opener(None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("offline")
def test_offline_a_file_that_was_put_there_is_taken(tmp_path: Path) -> None:
    url = f"https://download.pytorch.org/models/{NAME}"
    with pytest.raises(NanofleetError, match="refused") as raised:
        fetch(url, tmp_path)
    assert url in str(raised.value)
    (tmp_path / NAME).write_bytes(CONTENT)
    assert fetch(url, tmp_path) == tmp_path / NAME


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"--weights-dir \S*weights: Not a directory"):
        fetch("http://127.0.0.1:9/net.pth", tmp_path / "file" / "weights")


def test_a_folder_that_may_not_be_entered_is_a_wrong_setting(tmp_path: Path) -> None:
    folder = tmp_path / "closed" / "weights"
    with closed(folder.parent):
        remove_stale_parts(folder)
        with pytest.raises(SettingsError, match=r"--weights-dir \S*weights: Permission denied"):
            fetch("http://127.0.0.1:9/net.pth", folder)
