from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Dict, Iterator

import pytest

from publisher.spool import Spool
from wire import private
from wire.credentials import Credentials
from wire.model_choice import ModelChoice
from wire.mqtt.packets import Delivery
from worker.delivery.crash_journal import CrashJournal
from worker.delivery.frame import Frame
from worker.delivery.scheduler import Scheduler
from worker.membership.identity import claim_worker_id
from worker.serving.last_served import LastServed

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize("kept", [False, True])
def test_memory_is_kept_from_other_processes_of_the_user(kept: bool) -> None:
    """The kernel gives what is in /proc of a process to root, once only root may look at its memory."""
    script = f"""
        import ctypes, os
        from wire.private import keep_memory_private
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of user had the same effect
        if {kept}:
            keep_memory_private()
        print("ready", flush=True)
        input()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        owner = Path(f"/proc/{process.pid}/mem").stat().st_uid
        process.kill()
    assert owner == (0 if kept else (os.geteuid() or 65534))


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> Dict[str, str]:
    return {str(each.relative_to(folder)): oct(each.stat().st_mode & 0o7777) for each in folder.rglob("*")}


@pytest.mark.usefixtures("umask")
def test_folders_and_files_are_this_users_alone(tmp_path: Path) -> None:
    private.make_folder(tmp_path / "a" / "b")
    private.make_folder(tmp_path / "a" / "b")
    with private.open_file(tmp_path / "a" / "b" / "file", "wb") as file:
        file.write(b"x")
    assert modes(tmp_path) == {"a": "0o700", "a/b": "0o700", "a/b/file": "0o600"}


def test_a_folder_that_exists_keeps_its_mode_and_a_file_does_not(tmp_path: Path) -> None:
    """The mode of a folder may be meant for others; a file is the member's own."""
    tmp_path.chmod(0o755)
    private.make_folder(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o644)
    private.open_file(tmp_path / "file", "ab").close()
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert modes(tmp_path) == {"file": "0o600"}


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(OSError, match="file"):
            private.make_folder(folder)


@pytest.mark.usefixtures("umask")
def test_what_a_worker_keeps_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Beyond the window every payload goes to the disk.
    monkeypatch.setattr("worker.delivery.scheduler.SPARE", 0)
    state = tmp_path / "state"
    with claim_worker_id(state, "w1"):
        attempts = CrashJournal(state / "w1.attempts", 16)
        with Scheduler(attempts, at_work=1, window=1, folder=state / "w1.waiting", work=print) as scheduler:
            for number in range(3):
                delivery = Delivery("t", b"picture", qos=1, retain=False, mid=number, epoch=1)
                scheduler.submit(Frame.receive(delivery, "door"))
            LastServed(state / "w1.model").keep(ModelChoice(model="alexnet"))
            found = modes(tmp_path)
    assert found.pop("state") == found.pop("state/w1.waiting") == "0o700"
    assert {"state/w1.waiting/1", "state/w1.lock", "state/w1.attempts", "state/w1.model"} <= set(found)
    assert set(found.values()) == {"0o600"}


@pytest.mark.usefixtures("umask")
def test_what_a_spool_keeps_is_its_own(tmp_path: Path) -> None:
    with Spool(tmp_path / "state" / "spool", 10_000) as spool:
        spool.put("id", "door", "door.jpg", "2026-01-01T00:00:00+00:00", b"picture")
        found = modes(tmp_path)
        folders = {name for name in found if (tmp_path / name).is_dir()}
    assert folders >= {"state", "state/spool", "state/spool/1"}
    assert {found[name] for name in folders} == {"0o700"}
    assert {found[name] for name in set(found) - folders} == {"0o600"}
    assert len(found) >= 6


@pytest.mark.parametrize(
    ("mode", "who"),
    [(0o600, ""), (0o400, ""), (0o640, "its group"), (0o644, "every user"), (0o444, "every user")],
)
def test_a_password_that_others_can_read_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, who: str
) -> None:
    secret = tmp_path / "password"
    secret.write_text("secret\n")
    secret.chmod(mode)
    for _ in range(2):  # at each connect
        assert Credentials("me", password_file=secret).password() == "secret"
    assert len(caplog.messages) == bool(who)
    if who:
        assert f"--password-file {secret} can be read by {who}" in caplog.text
        assert f"chmod 600 {secret}" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
def test_a_secret_that_root_gives_to_a_service_by_its_group_is_right(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.touch()
    secret.chmod(0o440)
    os.chown(secret, 65534, 65534)
    assert private.readers(secret) == ""


def test_who_else_may_write_a_file_or_put_another_in_its_place(tmp_path: Path) -> None:
    above, folder = tmp_path / "above", tmp_path / "above" / "folder"
    folder.mkdir(parents=True)
    for each in (above, folder):
        each.chmod(0o755)
    file = folder / "file"
    file.touch(0o644)
    file.chmod(0o644)
    assert private.writers(file) == ""
    file.chmod(0o664)
    assert private.writers(file) == f"its group may write {file} (chmod g-w)"
    file.chmod(0o644)
    above.chmod(0o757)
    assert private.writers(file) == f"every user of this machine may write {above} (chmod o-w)"
    above.chmod(0o1777)  # as /tmp
    assert private.writers(file) == ""
    assert private.writers(above) == f"every user of this machine may write {above} (chmod o-w)"
    (tmp_path / "link").symlink_to(file)
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
        assert private.writers(tmp_path / "link") == f"{folder} is another user's"
