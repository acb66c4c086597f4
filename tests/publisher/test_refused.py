"""What the broker refuses for good is set aside: logged once, in nobody's way, and there for another try."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable, List

import pytest

from publisher import spooling
from publisher.publish import publish
from publisher.settings import PublishSettings
from publisher.spool import Spool, SpoolFull
from tests.harness import Mosquitto, nanofleet, wait_for
from tests.publisher.answerer import Answerer
from tests.wire.servers import RefusingBroker
from wire.errors import ReadingRefused


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., str]:
    """A file with this text."""

    def make(text: str, size: int = 0) -> str:
        path = tmp_path / f"{text}.jpg"
        path.write_bytes(text.encode().ljust(size, b"."))
        return str(path)

    return make


def waiting(tmp_path: Path) -> List[Path]:
    return sorted((tmp_path / "spool").rglob("*.frame"))


def refused(tmp_path: Path) -> List[Path]:
    return sorted((tmp_path / "spool").rglob("*.refused"))


def address(tmp_path: Path, url: str, root: str) -> List[str]:
    return ["--broker", url, "--root", root, "--spool-dir", str(tmp_path / "spool")]


def allow(tmp_path: Path, root: str, *cameras: str) -> None:
    """Write an ACL by which anybody may publish as these cameras, and do all else."""
    lines = ["topic read #", f"topic readwrite {root}/results/#"]
    (tmp_path / "acl").write_text(
        "\n".join([*lines, *(f"topic write {root}/frames/{c}" for c in cameras), ""])
    )
    (tmp_path / "acl").chmod(0o644)


def test_one_that_the_acl_forbids_fails_no_later_run_and_goes_out_once_it_may(
    mosquitto: Callable[..., Mosquitto], root: str, tmp_path: Path, image: Callable[..., str]
) -> None:
    allow(tmp_path, root, "good")
    broker = mosquitto("allow_anonymous true", f"acl_file {tmp_path}/acl", "user root")
    at = address(tmp_path, broker.url, root)
    answerer = Answerer(broker.url, root)

    run = nanofleet("publish", image("one"), image("two"), "--camera", "bad,good", *at)
    assert run.returncode == 1
    assert "sent 2, answered 1, rejected 0, missing 0, refused by the broker 1" in run.stdout
    assert "set aside: see nanofleet spool list" in run.stdout
    assert "p50" not in run.stdout  # of a single answer
    assert run.stderr.count("one.jpg, camera bad: refused by the broker: not authorised") == 1
    assert len(refused(tmp_path)) == 1

    run = nanofleet("publish", image("three"), "--camera", "good", *at)
    assert (run.returncode, run.stderr) == (0, "")
    assert "refused" not in run.stdout

    allow(tmp_path, root, "good", "bad")
    assert broker.process
    broker.process.send_signal(signal.SIGHUP)
    assert nanofleet("spool", "retry", *at).returncode == 0
    run = nanofleet("publish", image("four"), "--camera", "good", "--resend-after", "0.5", *at)
    answerer.close()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "sent 2, answered 2, rejected 0, missing 0, 1 of them from an earlier run" in run.stdout
    assert not waiting(tmp_path) + refused(tmp_path)


@pytest.mark.parametrize("limit", ["max_packet_size 3000", "message_size_limit 2000"])
def test_one_that_is_too_large_is_set_aside(
    limit: str, mosquitto: Callable[..., Mosquitto], root: str, tmp_path: Path, image: Callable[..., str]
) -> None:
    """Taken while the broker is away, so that its limit is not known. The second limit it never names."""
    broker = mosquitto("allow_anonymous true", limit)
    broker.stop()
    at = address(tmp_path, broker.url, root)
    nanofleet("publish", image("large", 5000), "--timeout", "0.5", *at)
    assert len(waiting(tmp_path)) == 1
    broker.start()
    answerer = Answerer(broker.url, root)
    run = nanofleet("publish", image("one"), *at, timeout=30)
    assert run.returncode == 1
    assert "answered 1, rejected 0, missing 0, 1 of them from an earlier run, refused by" in run.stdout
    assert "large.jpg, camera camera: refused by the broker: larger than" in run.stderr
    run = nanofleet("publish", image("two"), *at)
    answerer.close()
    assert (run.returncode, run.stderr) == (0, "")
    assert len(refused(tmp_path)) == 1


def test_a_camera_whose_answers_may_not_be_read_fails_one_run(
    mosquitto: Callable[..., Mosquitto], root: str, tmp_path: Path, image: Callable[..., str]
) -> None:
    """By the dynamic security plugin, which refuses the subscription, and so the whole run."""
    plugins = sorted(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"))
    if not plugins:
        pytest.skip("this Mosquitto comes without its dynamic security plugin")
    topics = [f"{root}/results/good", f"{root}/rejects/good", f"{root}/frames/+"]
    acls = [{"acltype": "subscribeLiteral", "topic": t, "priority": 0, "allow": True} for t in topics]
    rules = {
        "defaultACLAccess": {"publishClientSend": True, "publishClientReceive": True, "subscribe": False},
        "roles": [{"rolename": "all", "acls": acls}],
        "groups": [{"groupname": "all", "roles": [{"rolename": "all"}]}],
        "anonymousGroup": "all",
    }
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    options = [f"plugin {plugins[0]}", f"plugin_opt_config_file {tmp_path}/rules.json", "user root"]
    broker = mosquitto("allow_anonymous true", *options)
    at = address(tmp_path, broker.url, root)
    run = nanofleet("publish", image("one"), "--camera", "bad", *at)
    assert run.returncode == 3
    assert f"does not let this member read {root}/results/bad" in run.stderr
    assert not waiting(tmp_path) + refused(tmp_path), "it is known before a frame is taken"

    broker.stop()
    nanofleet("publish", image("one"), "--camera", "bad", "--timeout", "0.5", *at)
    assert len(waiting(tmp_path)) == 1
    broker.start()
    answerer = Answerer(broker.url, root)
    run = nanofleet("publish", image("two"), "--camera", "good", *at)
    assert run.returncode == 3
    assert "refused by the broker 1" in run.stdout
    assert len(refused(tmp_path)) == 1
    run = nanofleet("publish", image("two"), "--camera", "good", *at)
    answerer.close()
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("codes", "publications", "gone"),
    [
        pytest.param([0x90], 1, True, id="topic name invalid"),
        pytest.param([0x99], 1, True, id="payload format invalid"),
        pytest.param([0x80, 0x83, 0xA5, 0x80], 4, True, id="reasons that do not say"),
        pytest.param([0x97, 0x91, 0x97, 0x97, 0x97, 0x00], 6, False, id="what passes"),
        pytest.param([0x97, 0x97, 0x97, 0x80, 0x00], 5, False, id="a reason that does not say, after others"),
    ],
)
def test_what_is_refused_for_good(
    codes: List[int],
    publications: int,
    gone: bool,
    root: str,
    tmp_path: Path,
    image: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spooling, "UNTAKEN_SECONDS", 0.05)
    monkeypatch.setattr(spooling, "MAX_UNTAKEN_SECONDS", 0.1)
    with RefusingBroker(codes) as broker:
        settings = PublishSettings(
            sources=[image("one")], timeout=3, broker=broker.url, root=root, spool_dir=tmp_path / "spool"
        )
        assert publish(settings) == 1
    assert broker.publications == publications
    assert (len(waiting(tmp_path)), len(refused(tmp_path))) == ((0, 1) if gone else (1, 0))
    if gone:
        assert refused(tmp_path)[0].stem.endswith(f"-{codes[-1]:02x}")


@pytest.mark.parametrize(("code", "gone"), [(0x87, True), (0x80, True), (0x97, False), (0x91, False)])
def test_what_waits_is_set_aside_only_if_its_answers_may_not_be_read_for_good(
    code: int, gone: bool, root: str, tmp_path: Path, image: Callable[..., str]
) -> None:
    with RefusingBroker([0x00], granted=code) as broker:
        settings = PublishSettings(
            sources=[image("one")], broker=broker.url, root=root, spool_dir=tmp_path / "spool"
        )
        with Spool(settings.spool_folder, 1000) as spool:
            spool.put("left", "camera", "left.jpg", "2026-01-01T00:00:00+00:00", b"left by an earlier run")
        with pytest.raises(ReadingRefused):
            publish(settings)
    assert (len(waiting(tmp_path)), len(refused(tmp_path))) == ((0, 1) if gone else (1, 0))


def test_a_broker_that_hangs_up_on_a_frame_ends_the_run(
    root: str, tmp_path: Path, image: Callable[..., str]
) -> None:
    """Each second it is there again, and gets no further."""
    with HangingUp([0x00]) as broker:
        at = address(tmp_path, broker.url, root)
        run = nanofleet("publish", image("one"), "--timeout", "2", *at, timeout=60)
    assert run.returncode == 1
    assert "not reached within 2 s" in run.stderr
    assert "1 frame stays in the spool, and the next run sends it" in run.stderr
    assert len(waiting(tmp_path)) == 1


class HangingUp(RefusingBroker):
    """Hangs up on each publication."""

    def answer(self, body: bytes) -> bytes:
        raise EOFError


def test_a_kill_in_the_middle_loses_none(
    mosquitto: Callable[..., Mosquitto], root: str, tmp_path: Path, image: Callable[..., str]
) -> None:
    allow(tmp_path, root)
    broker = mosquitto("allow_anonymous true", f"acl_file {tmp_path}/acl", "user root")
    at = address(tmp_path, broker.url, root)
    flags = ["--loop", "--fps", "1000", *at]
    command = [sys.executable, "-m", "fleet", "publish", image("one"), *flags]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as publisher:
        wait_for(lambda: len(refused(tmp_path)) > 20, what="some that are refused")
        publisher.kill()
    found = [*waiting(tmp_path), *refused(tmp_path)]
    assert len({file.name[:20] for file in found}) == len(found) == max(int(file.name[:20]) for file in found)


def put(spool: Spool, name: str, size: int = 500) -> None:
    spool.put(name, "door", f"{name}.jpg", "2026-01-01T00:00:00+00:00", bytes(size))


def test_they_count_for_the_size_and_make_room_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Spool(tmp_path, 2000) as spool:
        for name in "abc":
            put(spool, name)
        spool.set_aside("b", 0x87)
        assert list(spool.kept) == ["a", "c"]
        with pytest.raises(SpoolFull, match="of them refused by the broker"):
            put(spool, "d")
    with Spool(tmp_path, 2000) as spool:
        with pytest.raises(SpoolFull):
            put(spool, "d")
        dropped = spool.drop_oldest()
        assert dropped is not None
        assert dropped.frame_id == "b"
        assert "b.jpg: dropped to make room" in caplog.text
        put(spool, "d")
        assert list(spool.kept) == ["a", "c", "d"]
        spool.set_aside("a", 0x87)
        for file in tmp_path.rglob("*.refused"):
            file.unlink()  # as nanofleet spool drop does, beside a publisher that runs
        put(spool, "e")


def test_a_full_disk_does_not_forbid_it(small_disk: Path) -> None:
    with Spool(small_disk, 1 << 40) as spool:

        def fill() -> None:
            for number in range(1000):
                put(spool, f"f{number}", 10_000)

        with pytest.raises(SpoolFull, match="No space left"):
            fill()
        before = list(spool.kept)
        spool.set_aside("f3", 0x87)
    with Spool(small_disk, 1 << 40) as spool:
        assert list(spool.kept) == [name for name in before if name != "f3"]
        assert len(list((small_disk / "refused").iterdir())) == 1
