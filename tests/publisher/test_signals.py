"""A signal ends a run, which says what was not answered."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, List

import pytest

from tests.harness import wait_for
from tests.publisher.answerer import Answerer, kept


def test_a_pace_and_ctrl_c(answerer: Answerer, address: List[str], image: Callable[[str], str]) -> None:
    command = [sys.executable, "-m", "fleet", "publish", image("one"), "--loop", "--fps", "10", "--wait"]
    began = time.monotonic()
    with subprocess.Popen([*command, *address], stdout=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: len(answerer.messages) >= 20, what="20 frames")
        assert time.monotonic() - began > 1.8, "at 10 a second"
        publisher.send_signal(signal.SIGINT)
        output, _ = publisher.communicate(timeout=60)
    assert publisher.returncode in (0, 1), "a loop has no other end than Ctrl-C"
    sent = re.search(r"sent (\d+), ", output)
    assert sent
    wait_for(
        lambda: abs(int(sent[1]) - len(answerer.messages)) <= 1, what="all but one, which was on its way"
    )


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_says_what_stays(
    signum: int, code: int, mosquitto_url: str, root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    address = ["--broker", mosquitto_url, "--root", root, *spool]
    command = [sys.executable, "-m", "fleet", "publish", str(images), *address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: len(kept(tmp_path)) == 20, what="20 frames in the spool")
        publisher.send_signal(signum)
        output, _ = publisher.communicate(timeout=60)
    assert publisher.returncode == code
    (folder,) = {file.parent.parent for file in kept(tmp_path)}
    assert f"20 frames stay in the spool, and the next run sends them: {folder}\n" in output
    assert len(kept(tmp_path)) == 20


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_without_a_spool_a_signal_says_what_was_not_answered(
    signum: int, code: int, mosquitto_url: str, root: str, images: Path, tmp_path: Path
) -> None:
    (images / "01.jpg").write_text("silence")
    answerer = Answerer(mosquitto_url, root)
    address = ["--broker", mosquitto_url, "--root", root, "--no-spool", "--wait"]
    command = [sys.executable, "-m", "fleet", "publish", str(images / "00.jpg"), str(images / "01.jpg")]
    with subprocess.Popen([*command, *address], stdout=subprocess.PIPE, text=True) as publisher:
        assert publisher.stdout
        assert "00.jpg" in publisher.stdout.readline()
        wait_for(lambda: len(answerer.messages) == 2, what="both frames")
        publisher.send_signal(signum)
        output, _ = publisher.communicate(timeout=60)
    answerer.close()
    assert publisher.returncode == code
    assert "sent 2, answered 1, rejected 0, missing 1" in output
    assert "1 of the frames that were sent was not answered, and nobody sends it again" in output
