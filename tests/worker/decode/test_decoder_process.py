"""A decoder's process: how it starts, what it imports, which signals are its own, and how it ends."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Type

import PIL
import pytest

from tests.harness import needs_root, wait_for
from tests.worker.decode.pools import RECIPE, Outcomes, decoders, open_pool, the_decoder
from wire.decoder.process import JOB, REPLY, ROOM
from wire.errors import NanofleetError, SettingsError
from wire.picture.pillow import OLDEST, check_pillow
from wire.picture.region import WHOLE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_process_that_cannot_start(outcomes: Outcomes) -> None:
    gc.collect()  # what earlier tests have left open
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(NanofleetError, match=r"decoder process cannot start: .+"), open_pool(
        outcomes, processes=2, memory=20 << 20
    ):
        pass
    assert not decoders()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_pillow_before_its_release_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL, "__version__", "10.4rc1")
    check_pillow()


@pytest.mark.parametrize(
    ("package", "error", "told"),
    [
        (
            "__version__ = '9.0.1'",
            SettingsError,
            r"Pillow 9\.0\.1 in \S+/PIL is too old: pip install 'pillow>=10\.4'",
        ),
        ("__version__ = 'UNKNOWN'", SettingsError, r"Pillow UNKNOWN in \S+/PIL is too old: pip install"),
        ("", SettingsError, r"Pillow UNKNOWN in \S+/PIL is too old: pip install"),
        (
            "raise ImportError('built for another version')",
            NanofleetError,
            "ImportError: built for another version",
        ),
        ("raise AttributeError('a half of it')", NanofleetError, "AttributeError: a half of it"),
    ],
    ids=["old", "of no known version", "of no version", "of another version", "broken"],
)
def test_a_pillow_that_does_not_do_is_named(
    outcomes: Outcomes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    error: Type[NanofleetError],
    told: str,
) -> None:
    """As the system's own, in an environment that sees the system's packages."""
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL" / "__init__.py").write_text(package)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    expected = pytest.raises(NanofleetError, match=f"a decoder process cannot start: {told}")
    with expected as raised, open_pool(outcomes, processes=1):
        pass
    assert type(raised.value) is error


def test_the_oldest_pillow_is_what_is_asked_for() -> None:
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    bounds = set(re.findall(r'"pillow>=([\d.]+)"', project))
    assert bounds == {".".join(map(str, OLDEST))}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_for_the_whole_group_are_the_parents_business(
    outcomes: Outcomes, photo: bytes, signum: signal.Signals
) -> None:
    with open_pool(outcomes) as pool:
        pid = the_decoder()
        os.kill(pid, signum)
        pool.submit("frame", photo)
        outcomes.pixels()
        assert the_decoder() == pid


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_they_are_from_its_first_moment_on(outcomes: Outcomes, photo: bytes, signum: signal.Signals) -> None:
    with open_pool(outcomes) as pool:
        dead = the_decoder()
        os.kill(dead, signal.SIGKILL)
        wait_for(lambda: decoders().get(dead) == "Z")
        pool.submit("frame", photo)
        while not (new := set(decoders()) - {dead}):
            pass
        os.kill(*new, signum)
        outcomes.pixels()
        assert set(decoders()) == new


@needs_root
def test_a_process_is_light(outcomes: Outcomes, photo: bytes) -> None:
    with open_pool(outcomes) as pool:
        pool.submit("frame", photo)
        outcomes.pixels()
        libraries = Path(f"/proc/{the_decoder()}/maps").read_text(encoding="utf-8")
    assert "_imaging" in libraries
    for heavy in ("numpy", "torch", "pydantic"):
        assert f"/{heavy}" not in libraries


def test_processes_end_with_their_parent() -> None:
    script = """
        import time
        from worker.decode.pool import DecoderPool
        from worker.decode.preprocessing import Preprocessing

        with DecoderPool(Preprocessing(256, 224), processes=2, slots=1, on_done=print, on_failure=print):
            print("ready", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"ready\n"
        children = decoders(parent.pid)
        assert len(children) == 2
        parent.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


@pytest.mark.parametrize("payload", [b"no picture", b""], ids=["busy", "idle"])
def test_a_process_whose_parent_was_killed_ends_without_a_word(payload: bytes) -> None:
    memory = os.memfd_create("pixels")
    os.ftruncate(memory, ROOM + RECIPE.crop**2 * 3)
    os.pwrite(memory, payload, 0)
    command = [sys.executable, "-m", "worker.decode.process", str(memory), str(1 << 30), "1000000"]
    recipe = ["fast", "pillow", json.dumps({"resize": RECIPE.resize, "crop": RECIPE.crop})]
    with subprocess.Popen(
        [*command, *recipe],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[memory],
    ) as child:
        os.close(memory)
        assert child.stdin
        assert child.stdout
        assert child.stderr
        assert len(child.stdout.read(REPLY.size)) == REPLY.size
        child.stdout.close()
        if payload:
            child.stdin.write(JOB.pack(len(payload), *WHOLE))
        child.stdin.close()
        assert child.stderr.read() == b""
        assert child.wait(60) == (-signal.SIGPIPE if payload else 0)
