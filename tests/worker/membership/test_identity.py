"""A worker's id: held by one process, found again by the next."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import is_open
from wire.errors import DuplicateMember, SettingsError
from wire.topics import is_id
from worker.membership.identity import claim_shared_id, claim_worker_id


def test_the_host_names_the_first_and_numbers_the_next(tmp_path: Path) -> None:
    with claim_worker_id(tmp_path, None) as first, claim_worker_id(tmp_path, None) as second:
        assert is_id(first)
        assert second == f"{first}-2"
    with claim_worker_id(tmp_path, None) as again:
        assert again == first


def test_workers_of_several_processes_have_names_of_their_own(tmp_path: Path) -> None:
    with claim_worker_id(tmp_path, None) as host, claim_worker_id(tmp_path, None):
        with claim_shared_id(tmp_path) as first, claim_shared_id(tmp_path) as second:
            assert (first, second) == (f"{host}-p", f"{host}-p2")
        with claim_shared_id(tmp_path) as again:
            assert again == first


def test_a_long_host_name_leaves_room_for_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 64)
    with claim_shared_id(tmp_path) as first, claim_shared_id(tmp_path) as second:
        assert is_id(f"{first}55-64")
        assert is_id(f"{second}-64")


def test_a_front_end_that_still_ends_does_not_hold_the_name(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys, time; from worker.membership.identity import claim_shared_id\n"
        "with claim_shared_id(pathlib.Path(sys.argv[1])) as found:\n"
        "    if os.fork(): os._exit(0)\n"
        "    print(found, flush=True); sys.stdin.read()"  # the one that is left, once it runs
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as dying:
        assert dying.stdout
        name = dying.stdout.readline().strip()
        assert dying.wait(30) == 0
        with claim_shared_id(tmp_path) as again:
            assert again == name


def test_an_id_that_is_taken_names_its_holder(tmp_path: Path) -> None:
    says = f"'w1' already runs .*{os.getpid()}"
    with claim_worker_id(tmp_path, "w1"), pytest.raises(DuplicateMember, match=says):
        claim_worker_id(tmp_path, "w1").__enter__()
    with claim_worker_id(tmp_path, "w1") as free_again:
        assert free_again == "w1"


def test_the_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys; from worker.membership.identity import claim_worker_id\n"
        "with claim_worker_id(pathlib.Path(sys.argv[1]), 'w1'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    with claim_worker_id(tmp_path, "w1") as free_again:
        assert free_again == "w1"


def test_a_state_dir_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="--state-dir"), claim_worker_id(tmp_path / "file", None):
        pass


def test_an_id_whose_holder_cannot_be_written_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "w1.lock").symlink_to("/dev/full")
    claim = claim_worker_id(tmp_path, "w1")
    with pytest.raises(SettingsError, match="--state-dir"), claim:
        pass
    assert not is_open(Path("/dev/full"))


def test_an_error_in_the_block_is_not_taken_for_one_of_the_state_dir(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), claim_worker_id(tmp_path, "w1"):
        raise ConnectionResetError
