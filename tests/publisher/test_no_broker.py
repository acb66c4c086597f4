"""A broker that is not there, or goes away: frames are kept with a spool, and the run ends without one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable, List

import pytest

from tests.harness import Mosquitto, nanofleet, wait_for
from tests.ports import free_port
from tests.publisher.answerer import Answerer, frame_ids, kept


def test_without_a_broker_frames_are_kept_for_when_there_is_one(
    mosquitto: Callable[..., Mosquitto], root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    broker = mosquitto("allow_anonymous true")
    broker.stop()
    command = [sys.executable, "-m", "fleet", "publish", str(images), "--broker", broker.url, "--root", root]
    with subprocess.Popen([*command, *spool], stdout=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: len(kept(tmp_path)) == 20, what="20 frames in the spool")
        broker.start()
        answerer = Answerer(broker.url, root)
        output, _ = publisher.communicate(timeout=60)
    answerer.close()
    assert publisher.returncode == 0, output
    assert "sent 20, answered 20, rejected 0, missing 0" in output
    assert not kept(tmp_path)


@pytest.mark.parametrize("window", ["64", "5"])
def test_a_broker_that_is_not_there_is_named_and_frames_are_kept(
    window: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    command = ["publish", str(images), "--broker", url, "--timeout", "1", "--window", window, *spool]
    run = nanofleet(*command)
    assert run.returncode == 1
    taken = min(20, int(window))
    assert len(kept(tmp_path)) == taken
    last = run.stderr.splitlines()[-1]
    assert last.startswith(f"nanofleet publish: {url}: not reached within 1 s: ")
    (folder,) = {file.parent.parent for file in kept(tmp_path)}
    assert f"{taken} frames stay in the spool, and the next run sends them: {folder}" in last
    not_sent = f", not sent {20 - taken}" if taken < 20 else ""
    assert f"sent {taken}, answered 0, rejected 0, missing {taken}{not_sent}\n" in run.stdout


def test_a_loop_waits_for_a_broker_that_comes_later(
    mosquitto: Callable[..., Mosquitto], root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    broker = mosquitto()
    broker.stop()
    flags = ["--loop", "--fps", "20", "--timeout", "1", "--broker", broker.url, "--root", root, *spool]
    command = [sys.executable, "-m", "fleet", "publish", str(images), *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: len(kept(tmp_path)) > 80, what="four seconds of frames")
        broker.start()
        answerer = Answerer(broker.url, root)
        wait_for(lambda: len(frame_ids(answerer)) > 80, what="all of them")
        publisher.send_signal(signal.SIGINT)
        publisher.communicate(timeout=60)
    answerer.close()


def test_a_loop_ends_where_a_broker_that_comes_later_refuses_it(
    mosquitto: Callable[..., Mosquitto], root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    """It would fill the spool, and send nothing for ever."""
    broker = mosquitto("allow_anonymous false")
    broker.stop()
    flags = ["--loop", "--fps", "20", "--broker", broker.url, "--root", root, *spool]
    command = [sys.executable, "-m", "fleet", "publish", str(images), *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: len(kept(tmp_path)) > 1, what="frames in the spool")
        broker.start()
        try:
            _, errors = publisher.communicate(timeout=60)
        finally:
            publisher.kill()
    assert publisher.returncode == 3
    assert "not authorised" in errors
    assert f"{len(kept(tmp_path))} frames stay in the spool" in errors


@pytest.mark.parametrize("flags", [["--wait"], ["--no-wait"], ["--loop"]])
def test_without_a_spool_a_broker_that_is_not_there_is_named(
    flags: List[str], image: Callable[[str], str]
) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    run = nanofleet("publish", image("one"), "--no-spool", *flags, "--broker", url, "--timeout", "1")
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith(f"nanofleet publish: {url}: not reached within 1 s: ")
    assert "Connection refused" in last


def test_without_a_spool_a_broker_that_goes_for_good_ends_the_waiting(
    mosquitto: Callable[..., Mosquitto], root: str, image: Callable[[str], str]
) -> None:
    broker = mosquitto()
    answerer = Answerer(broker.url, root)
    flags = ["--no-spool", "--wait", "--timeout", "2", "--broker", broker.url, "--root", root]
    command = [sys.executable, "-m", "fleet", "publish", image("one"), image("silence"), *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: len(answerer.messages) == 2, what="both frames")
        broker.stop()
        answerer.close()
        shown, errors = publisher.communicate(timeout=60)
    assert publisher.returncode == 1
    assert "sent 2, answered 1, rejected 0, missing 1" in shown
    assert f"nanofleet publish: {broker.url}: not reached within 2 s" in errors.splitlines()[-1]
