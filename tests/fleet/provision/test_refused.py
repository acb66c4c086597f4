"""What `nanofleet provision` refuses."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from fleet.cli import main
from tests.fleet.provision.folder import openssl, refusal, snapshot


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--camera", "front door"], "1 to 64 letters, digits, - and _, not 'front door'"),
        (["--worker", "../ca"], "not '../ca'"),
        (["--worker", "x" * 65], "1 to 64 letters"),
        (["--camera", "tür"], "not 'tür'"),
        (["--camera", "door\ntopic write #"], r"not 'door\ntopic write #'"),
        (["--camera", "nanofleet-worker-nano-1"], "could be the MQTT client id of another"),
        (["--camera", "a", "--worker", "a"], "--worker a: there is a camera of that name"),
        (["--host", ""], "name at least one: broker.local"),
        (["--host", "mqtt://broker"], "a name such as broker.local or an IP address, not 'mqtt://broker'"),
        (["--host", "broker:8883"], "not 'broker:8883'"),
        (["--host", "*.local"], "not '*.local'"),
        (["--host", "fe80::1%eth0"], "not 'fe80::1%eth0'"),
        (["--host", "a..b"], "not 'a..b'"),
        (["--root", "a b"], "a topic without spaces and control characters, not 'a b'"),
        (["--root", "a\ntopic write #"], "without spaces and control characters"),
        (["--root", "a/+"], "a plain topic such as nanofleet"),
        (["--root", "$SYS"], "a plain topic such as nanofleet"),
        (["--discovery-prefix", "a b"], "a topic without spaces and control characters, not 'a b'"),
        (["--discovery-prefix", "a\ntopic write #"], "without spaces and control characters"),
        (["--discovery-prefix", "+"], "a plain topic such as "),
        (["--discovery-prefix", "nanofleet"], "that is within the fleet's own topics, nanofleet/…"),
        (["--discovery-prefix", "nanofleet/workers"], "that is within the fleet's own topics, nanofleet/…"),
        (["--listener", "a", "--homeassistant", "a"], "there is a listener of that name"),
        (["--days", "0"], "--days: "),
        (["--days", "4000"], "--days: "),
    ],
)
def test_odd_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: List[str], says: str
) -> None:
    text = refusal(capsys, str(tmp_path / "fleet"), *arguments)
    assert says in text
    assert text.startswith(arguments[-2])
    assert not list(tmp_path.rglob("*.key"))


def test_a_role_cannot_change(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(fleet)
    assert "--worker door: there is a camera of that name" in refusal(capsys, str(fleet), "--worker", "door")
    assert snapshot(fleet) == before


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("root", b"a b\n", "root: a topic without spaces"),
        ("root", b"\xff", "root: expected text in UTF-8"),
        (
            "discovery-prefix",
            b"a b\n",
            "without spaces and control characters, not 'a b'; name it with --dis",
        ),
        ("group", b"a/b\n", "group: expected 1 to 64 letters"),
        (
            "members/door/role",
            b"king\n",
            "expected one of camera, worker, observer, listener, homeassistant, operator, not 'king'",
        ),
        ("members/door/role", b"", "not ''; write it there, or remove"),
        ("members/door/password", b"\n", "password is empty: remove it"),
        ("members/door/password", b"p\xe4ssw\xf6rd", "password: expected text in UTF-8"),
        ("members/door/client.crt", b"x", "client.crt: expected a certificate, as PEM: remove it"),
        ("members/door/client.key", b"x", "client.key: expected the unencrypted key of an elliptic curve"),
        ("broker/server.key", b"", "server.key: expected the unencrypted key"),
        ("broker/passwords", b"\xff", "passwords: expected text in UTF-8"),
        ("ca/ca.key", b"x", "ca.key: expected the unencrypted key"),
        ("ca/inner-ca.crt", b"x", "inner-ca.crt: expected a certificate"),
        ("extra.acl", b"\xff", "extra.acl: expected text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used(
    fleet: Path, capsys: pytest.CaptureFixture[str], file: str, content: bytes, says: str
) -> None:
    (fleet / file).write_bytes(content)
    before = snapshot(fleet)
    text = refusal(capsys, str(fleet))
    assert text.startswith(str(fleet))
    assert says in text
    assert "\\xe4" not in text
    assert snapshot(fleet) == before


def test_keys_of_another_kind(fleet: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    key = fleet / "members" / "door" / "client.key"
    for make in (
        ["genrsa", "-out", str(key), "2048"],
        ["genpkey", "-algorithm", "ed25519", "-out", str(key)],
        ["ec", "-in", str(fleet / "ca/ca.key"), "-aes128", "-passout", "pass:x", "-out", str(key)],
    ):
        openssl(*make)
        assert "expected the unencrypted key of an elliptic curve" in refusal(capsys, str(fleet))


def test_authorities_that_are_not_whole(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(fleet / "ca" / "inner-ca.key", fleet / "ca" / "ca.key")
    assert "ca.crt and ca.key do not belong together" in refusal(capsys, str(fleet))
    (fleet / "ca" / "ca.key").unlink()
    text = refusal(capsys, str(fleet))
    assert "ca.key is missing" in text
    assert "remove ca.crt as well" in text


def test_folders_that_are_none(tmp_path: Path, fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    before = snapshot(tmp_path)
    assert refusal(capsys, str(file)).startswith(f"{file}: that is a file")
    assert refusal(capsys, str(file / "below")).startswith(f"{file}/below: Not a directory")
    assert "/proc/nothing" in refusal(capsys, "/proc/nothing/here")
    text = refusal(capsys, str(tmp_path))
    assert text == f"{tmp_path} holds no fleet, but file: name a folder of the fleet's own\n"
    (fleet / "members" / "my door").mkdir()
    text = refusal(capsys, str(fleet))
    assert text.startswith(f"{fleet}/members/my door: a member is 1 to 64 letters")
    assert "move that folder away" in text
    assert snapshot(tmp_path) == before


def test_a_folder_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["provision"])
    assert caught.value.code == 2
    assert "FOLDER" in capsys.readouterr().err


def test_without_cryptography_the_extra_is_named(tmp_path: Path) -> None:
    without = "import sys; sys.modules['cryptography'] = None; from fleet.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", without, "provision"]
    run = subprocess.run([*command, str(tmp_path / "fleet")], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "pip install '.[provision]'" in run.stderr
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    assert helped.returncode == 0
