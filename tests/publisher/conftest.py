"""Images, a spool for them, and somebody who answers."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator, List

import pytest

from tests.publisher.answerer import Answerer


@pytest.fixture
def address(mosquitto_url: str, root: str) -> List[str]:
    return ["--broker", mosquitto_url, "--root", root]


@pytest.fixture
def answerer(mosquitto_url: str, root: str) -> Iterator[Answerer]:
    started = Answerer(mosquitto_url, root)
    yield started
    started.close()


@pytest.fixture
def image(tmp_path: Path) -> Callable[[str], str]:
    """A file with this text; the publisher does not look inside."""

    def make(text: str) -> str:
        path = tmp_path / f"{text}.jpg"
        path.write_text(text)
        return str(path)

    return make


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02d}.jpg").write_bytes(b"\xff\xd8\xff\xe0 image %d" % number)
    return folder


@pytest.fixture
def spool(tmp_path: Path) -> List[str]:
    return ["--spool-dir", str(tmp_path / "spool")]
