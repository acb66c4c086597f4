"""A picture that takes too long or too much memory, and a decoder that dies: each costs one frame."""

from __future__ import annotations

import gc
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.harness import wait_for
from tests.worker.decode.pools import Outcomes, decoders, open_pool, stop, the_decoder
from worker.errors import DecoderCrashed, DecoderTimeout, ImageTooLarge

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


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
        wait_for(lambda: decoders().get(pid) == "Z")
        pool.submit("frame", photo)
        outcomes.pixels()


@pytest.mark.parametrize("extra", [0, 1_000_000], ids=["small", "larger than a pipe"])
def test_a_hang_ends_at_the_time_limit(outcomes: Outcomes, photo: bytes, extra: int) -> None:
    with open_pool(outcomes, slots=1, timeout=1) as pool:
        pid = the_decoder()
        stop(pid)
        began = time.monotonic()
        pool.submit("doomed", photo + bytes(extra))
        job, outcome = outcomes.next()
        assert time.monotonic() - began > 0.95
        assert job == "doomed"
        assert isinstance(outcome, DecoderTimeout)
        assert "1 s" in str(outcome)
        pool.submit("next", photo)
        outcomes.pixels()
        assert pid not in decoders()


#: Has a picture decoded by a process that is stopped, whose id it prints, and stops meanwhile; then what
#: comes of it.
STOPPED = """
import os, signal, sys
from pathlib import Path
from tests.worker.decode.pools import RECIPE, stop, the_decoder
from worker.decode.decoder import Limits, decoder_for

signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGSTOP))
with decoder_for(RECIPE, Limits(timeout=1)) as decoder:
    stop(the_decoder())
    print(the_decoder(), flush=True)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    print(decoder.decode(Path(sys.argv[1]).read_bytes()).width)
"""


def test_what_all_were_stopped_for_does_not_count(photo: bytes, tmp_path: Path) -> None:
    """As by Ctrl-Z, or by `docker pause`."""
    (tmp_path / "photo").write_bytes(photo)
    command = [sys.executable, "-c", STOPPED, str(tmp_path / "photo")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        decoder = int(parent.stdout.readline())
        stat = Path(f"/proc/{parent.pid}/stat")
        wait_for(lambda: stat.read_text(encoding="ascii").rsplit(") ", 1)[1][0] == "T", what="it stops")
        time.sleep(2)
        for pid in (decoder, parent.pid):
            os.kill(pid, signal.SIGCONT)
        assert parent.stdout.read() == f"{Image.open(io.BytesIO(photo)).width}\n"


def test_a_slow_image_ends_at_the_time_limit(outcomes: Outcomes, large: bytes) -> None:
    with open_pool(outcomes, timeout=0.06) as pool:
        pid = the_decoder()
        pool.submit("doomed", large)
        assert isinstance(outcomes.next()[1], DecoderTimeout)
        wait_for(lambda: pid not in decoders(), what="its end")


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


def test_nothing_is_left_of_many_replacements(outcomes: Outcomes, photo: bytes) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()  # what earlier tests have left open
    before = open_files()
    with open_pool(outcomes, slots=1) as pool:
        running = open_files()
        for number in range(8):
            pid = the_decoder()
            stop(pid)
            pool.submit(f"{number}", photo)
            wait_for(lambda: not pool.backlog)
            time.sleep(0.02)  # in which the thread that has taken it writes to the process
            os.kill(pid, signal.SIGKILL)
            assert isinstance(outcomes.next()[1], DecoderCrashed)
            pool.submit("good", photo)
            outcomes.pixels()
            assert open_files() == running
    assert open_files() == before
