from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple, Type, Union

import numpy as np
import PIL
import pytest
from PIL import Image

from tests.harness import needs_root
from wire.decoder.process import JOB, REPLY
from wire.errors import NanofleetError, SettingsError
from wire.picture.pillow import OLDEST, check_pillow
from worker.decode.image import decode
from worker.decode.pool import DecoderPool, Pixels
from worker.decode.preprocessing import Preprocessing
from worker.errors import (
    CorruptImage,
    DecoderCrashed,
    DecoderTimeout,
    EmptyPayload,
    FrameError,
    ImageTooLarge,
    NotAnImage,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

RECIPE = Preprocessing(resize=256, crop=224)
Outcome = Union[Pixels, FrameError]


class Outcomes:
    """What a pool said about its jobs, in the order in which it did."""

    def __init__(self) -> None:
        self._done: queue.Queue[Tuple[str, Outcome]] = queue.Queue()
        self.failures: List[BaseException] = []

    def put(self, job: str, outcome: Outcome) -> None:
        self._done.put((job, outcome))

    def next(self, timeout: float = 10) -> Tuple[str, Outcome]:
        return self._done.get(timeout=timeout)

    def none_within(self, seconds: float) -> bool:
        try:
            self._done.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def pixels(self) -> Pixels:
        """The next outcome, which is an image; its slot is given back."""
        job, outcome = self.next()
        assert isinstance(outcome, Pixels), (job, outcome)
        outcome.release()
        return outcome


@contextlib.contextmanager
def open_pool(
    outcomes: Outcomes, processes: int = 1, slots: int = 4, recipe: Preprocessing = RECIPE, **limits: Any
) -> Iterator[DecoderPool[str]]:
    with DecoderPool(
        recipe,
        processes=processes,
        slots=slots,
        on_done=outcomes.put,
        on_failure=outcomes.failures.append,
        **limits,
    ) as pool:
        yield pool
    assert pool.failed is None
    assert not outcomes.failures
    assert not decoders()


def decoders(parent: int = os.getpid()) -> Dict[int, str]:
    """Process ids of the decoders of a process, zombies too, and their states."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, ppid = (folder / "stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()[:2]
            # A zombie has no command line.
            if int(ppid) == parent and (
                b"worker.decode.process" in (folder / "cmdline").read_bytes() or state == "Z"
            ):
                found[int(folder.name)] = state
    return found


def the_decoder() -> int:
    (pid,) = decoders()
    return pid


def wait_until(condition: Callable[[], bool], timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def stop(pid: int) -> None:
    """Hang a process."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: decoders()[pid] == "T")


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


def test_pixels_are_those_of_decode(outcomes: Outcomes, photos: Path) -> None:
    names = ["coffee.png", "rocket.jpg", "logo.png", "text.png", "chelsea.png", "camera.png"]
    with open_pool(outcomes, processes=2, slots=len(names)) as pool:
        for name in names:
            pool.submit(name, (photos / name).read_bytes())
        done = dict(outcomes.next() for _ in names)
    assert sorted(done) == sorted(names)
    for name, outcome in done.items():  # closed, and still there
        assert isinstance(outcome, Pixels)
        expected = decode((photos / name).read_bytes(), RECIPE, 64_000_000)
        assert outcome.array.shape == (224, 224, 3)
        assert outcome.array.dtype == np.uint8
        assert outcome.array.tobytes() == expected.pixels
        assert (outcome.width, outcome.height) == (expected.width, expected.height)
        assert 0 < outcome.decode_ms < 5000


@pytest.mark.parametrize(
    ("payload", "error"),
    [(b"", EmptyPayload), (b"hello", NotAnImage), (b"\xff\xd8\xff" + bytes(99), CorruptImage)],
)
def test_a_bad_payload_is_a_frame_error(
    outcomes: Outcomes, photo: bytes, payload: bytes, error: type
) -> None:
    with open_pool(outcomes, slots=1) as pool:
        pid = the_decoder()
        for number in range(3):
            pool.submit(f"bad {number}", payload)
        pool.submit("good", photo)
        for number in range(3):
            job, outcome = outcomes.next()
            assert job == f"bad {number}"
            assert type(outcome) is error
            assert str(outcome)
        outcomes.pixels()
        assert the_decoder() == pid, "a bad payload needs no new process"


def test_max_pixels(outcomes: Outcomes, photo: bytes) -> None:
    with open_pool(outcomes, max_pixels=200_000) as pool:
        pool.submit("frame", photo)
        _, outcome = outcomes.next()
    assert isinstance(outcome, ImageTooLarge)
    assert "640 x 427" in str(outcome)


def test_what_is_missing_is_said(outcomes: Outcomes, photo: bytes) -> None:
    with open_pool(outcomes, slots=3) as pool:
        for name, payload in {"whole": photo, "no end": photo[:-2], "cut": photo[:-4000]}.items():
            pool.submit(name, payload)
            job, outcome = outcomes.next()
            assert isinstance(outcome, Pixels)
            assert (job, outcome.complete) == (name, name != "cut")


@pytest.mark.parametrize(
    "recipe",
    [
        Preprocessing(256, 96, fit="squeeze", width=160, channels="bgr"),
        Preprocessing(256, 160, "bicubic", fit="pad", width=96, channels="gray"),
        Preprocessing(256, 224, channels="bgr"),
    ],
    ids=lambda recipe: f"{recipe.fit}-{recipe.channels}",
)
def test_the_whole_recipe_reaches_the_process(
    outcomes: Outcomes, photo: bytes, recipe: Preprocessing
) -> None:
    with open_pool(outcomes, recipe=recipe) as pool:
        pool.submit("frame", photo)
        pixels = outcomes.pixels()
        assert pixels.array.shape == recipe.shape
        assert pixels.array.tobytes() == decode(photo, recipe).pixels


def test_a_phones_picture_in_little_memory(outcomes: Outcomes) -> None:
    """200 megapixels, row by row; in several scans they would have to be held as a whole."""
    picture = Image.linear_gradient("L").resize((16_320, 12_240))
    plain, progressive = io.BytesIO(), io.BytesIO()
    picture.save(plain, "JPEG", quality=50)
    picture.resize((12_000, 9_000)).save(progressive, "JPEG", quality=50, progressive=True)
    with open_pool(outcomes, slots=1, memory=192 << 20, timeout=60) as pool:
        pid = the_decoder()
        pool.submit("plain", plain.getvalue())
        pixels = outcomes.pixels()
        assert (pixels.width, pixels.height, pixels.complete) == (16_320, 12_240, True)
        pixels.release()
        pool.submit("progressive", progressive.getvalue())
        _, outcome = outcomes.next()
        assert isinstance(outcome, ImageTooLarge)
        assert "progressive" in str(outcome)
        assert the_decoder() == pid


def test_killed_on_a_frame(outcomes: Outcomes, photo: bytes) -> None:
    with open_pool(outcomes, slots=1) as pool:
        pid = the_decoder()
        stop(pid)
        pool.submit("doomed", photo)
        assert outcomes.none_within(0.1)
        os.kill(pid, signal.SIGKILL)
        pool.submit("next", photo)
        job, outcome = outcomes.next()
        assert job == "doomed"
        assert isinstance(outcome, DecoderCrashed)
        assert "SIGKILL" in str(outcome)
        outcomes.pixels()
        assert pid not in decoders()


def test_killed_while_idle_costs_no_frame(outcomes: Outcomes, photo: bytes) -> None:
    with open_pool(outcomes) as pool:
        pid = the_decoder()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: decoders().get(pid) == "Z")
        pool.submit("frame", photo)
        outcomes.pixels()


@pytest.mark.parametrize("extra", [0, 1_000_000], ids=["small", "larger than a pipe"])
def test_a_hang_ends_at_the_time_limit(outcomes: Outcomes, photo: bytes, extra: int) -> None:
    with open_pool(outcomes, slots=1, timeout=0.5) as pool:
        pid = the_decoder()
        stop(pid)
        began = time.monotonic()
        pool.submit("doomed", photo + bytes(extra))
        job, outcome = outcomes.next()
        assert 0.45 < time.monotonic() - began < 2
        assert job == "doomed"
        assert isinstance(outcome, DecoderTimeout)
        assert "0.5 s" in str(outcome)
        pool.submit("next", photo)
        outcomes.pixels()
        assert pid not in decoders()


def test_a_slow_image_ends_at_the_time_limit(outcomes: Outcomes, photo: bytes, large: bytes) -> None:
    with open_pool(outcomes, timeout=0.06) as pool:
        pool.submit("doomed", large)
        assert isinstance(outcomes.next()[1], DecoderTimeout)
        pool.submit("next", photo)
        outcomes.pixels()


def test_memory_is_limited(outcomes: Outcomes, photo: bytes, large: bytes) -> None:
    with open_pool(outcomes, slots=1, memory=100 << 20) as pool:
        pool.submit("doomed", large)
        _, outcome = outcomes.next()
        assert isinstance(outcome, DecoderCrashed)
        assert "memory" in str(outcome)
        pool.submit("next", photo)
        outcomes.pixels()


def test_a_large_image_leaves_no_large_process(outcomes: Outcomes, large: bytes) -> None:
    with open_pool(outcomes) as pool:
        for number in range(2):
            pool.submit(f"{number}", large)
            assert outcomes.pixels().height == 6000
        status = Path(f"/proc/{the_decoder()}/status").read_text(encoding="ascii")
    (resident,) = re.findall(r"VmRSS:\s*(\d+) kB", status)
    assert int(resident) < 60_000


def test_slots_do_not_count_as_memory(outcomes: Outcomes, photo: bytes) -> None:
    with open_pool(outcomes, slots=4096, memory=100 << 20) as pool:
        pool.submit("frame", photo)
        outcomes.pixels()


def test_decoding_waits_for_a_free_slot(outcomes: Outcomes, photos: Path) -> None:
    names = ["rocket.jpg", "coffee.png", "chelsea.png", "camera.png"]
    with open_pool(outcomes, processes=2, slots=2) as pool:
        for name in names:
            pool.submit(name, (photos / name).read_bytes())
        first, second = outcomes.next(), outcomes.next()
        assert outcomes.none_within(0.2), "there are but two slots"
        for name, outcome in (first, second):
            assert isinstance(outcome, Pixels)
            expected = decode((photos / name).read_bytes(), RECIPE, 64_000_000)
            assert outcome.array.tobytes() == expected.pixels
        assert isinstance(first[1], Pixels)
        for _ in range(3):
            first[1].release()
        third = outcomes.next()
        assert isinstance(third[1], Pixels)
        assert outcomes.none_within(0.2), "a slot was given back twice"
        third[1].release()
        outcomes.pixels()


def test_close_while_busy(outcomes: Outcomes, photo: bytes) -> None:
    with open_pool(outcomes, processes=2, slots=1) as pool:
        for pid in decoders():
            stop(pid)
        for number in range(50):
            pool.submit(f"{number}", photo)
        time.sleep(0.1)
        began = time.monotonic()
        pool.close()
        assert time.monotonic() - began < 1
        assert not decoders()
    assert outcomes.none_within(0.1), "dropped jobs have no outcome"


def test_close_before_anything_was_opened() -> None:
    DecoderPool[str](RECIPE, processes=1, slots=1, on_done=print, on_failure=print).close()


def test_nothing_is_left_of_many_replacements(outcomes: Outcomes, photo: bytes) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    with open_pool(outcomes, slots=1) as pool:
        running = open_files()
        for number in range(8):
            pid = the_decoder()
            stop(pid)
            pool.submit(f"{number}", photo)
            time.sleep(0.02)
            os.kill(pid, signal.SIGKILL)
            assert isinstance(outcomes.next()[1], DecoderCrashed)
            pool.submit("good", photo)
            outcomes.pixels()
            assert open_files() == running
    assert open_files() == before


def test_a_process_that_cannot_start(outcomes: Outcomes) -> None:
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


def test_a_callback_that_raises_is_told(photo: bytes) -> None:
    failures: queue.Queue[BaseException] = queue.Queue()

    def on_done(job: str, outcome: Outcome) -> None:
        raise RuntimeError(job)

    with DecoderPool(RECIPE, processes=1, slots=1, on_done=on_done, on_failure=failures.put) as pool:
        pool.submit("frame", photo)
        failure = failures.get(timeout=10)
        assert isinstance(failure, RuntimeError)
        assert pool.failed is failure
    assert not decoders()


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
        wait_until(lambda: decoders().get(dead) == "Z")
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
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


@pytest.mark.parametrize("payload", [b"no picture", b""], ids=["busy", "idle"])
def test_a_process_whose_parent_was_killed_ends_without_a_word(payload: bytes) -> None:
    memory = os.memfd_create("pixels")
    os.ftruncate(memory, RECIPE.crop**2 * 3)
    command = [sys.executable, "-m", "worker.decode.process", str(memory), str(1 << 30), "1000000"]
    recipe = ["fast", json.dumps({"resize": RECIPE.resize, "crop": RECIPE.crop})]
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
            child.stdin.write(JOB.pack(len(payload)) + payload)
        child.stdin.close()
        assert child.stderr.read() == b""
        assert child.wait(10) == (-signal.SIGPIPE if payload else 0)
