"""What the tests of decoders share."""

from __future__ import annotations

import io
import queue
import socket
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator, List, Tuple

import pytest
from PIL import Image

from tests.exploit import hole
from tests.worker.decode.attacked import Attacked
from tests.worker.decode.pools import RECIPE, Outcome, Outcomes
from worker.decode.pool import DecoderPool


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes()


@pytest.fixture(scope="module")
def photo(photos: Path) -> bytes:
    return (photos / "rocket.jpg").read_bytes()


@pytest.fixture(scope="module")
def large() -> bytes:
    """24 million pixels, which need 96 MB once decoded, and that again to be turned upright."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6000, 4000), (10, 20, 30)).save(buffer, "PNG", compress_level=1, exif=exif)
    return buffer.getvalue()


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
