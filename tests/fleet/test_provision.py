"""The folder of `nanofleet provision`: what is in it, what stays, what changes, and what is refused."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from fleet.cli import main
from fleet.provision import certificates
from tests.fleet.provisioned import REFUSED, Client, GuardedBroker, provision
from tests.harness import nanofleet, need

MEMBERS = ("--camera", "door,garden", "--worker", "nano-1", "--listener", "home", "--operator", "admin")
FILES = {
    "root": 0o644,
    "group": 0o600,
    "ca/ca.crt": 0o644,
    "ca/ca.key": 0o600,
    "ca/inner-ca.crt": 0o644,
    "ca/inner-ca.key": 0o600,
    "broker/ca.crt": 0o644,
    "broker/inner-ca.crt": 0o644,
    "broker/server.crt": 0o644,
    "broker/server.key": 0o600,
    "broker/passwords": 0o600,
    "broker/acl": 0o644,
    "broker/mosquitto.conf": 0o644,
}
MEMBER_FILES = {
    "role": 0o644,
    "ca.crt": 0o644,
    "client.crt": 0o644,
    "client.key": 0o600,
    "password": 0o600,
    "member.env": 0o600,
}


def modes(folder: Path) -> Dict[str, int]:
    """The files below a folder, with their permissions."""
    found = [path for path in folder.rglob("*") if not path.is_dir()]
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in found}


def snapshot(folder: Path) -> Dict[str, Tuple[bytes, int, int]]:
    """All that a second run could change: contents, and by whether they were written anew."""
    found = [path for path in folder.rglob("*") if not path.is_dir()]
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns)
        for path in found
    }


def changed(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def openssl(*arguments: str) -> str:
    done = subprocess.run([need("openssl"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ends(certificate: Path) -> datetime:
    """Asked of openssl, so that it is not our own reading of our own writing."""
    text = openssl("x509", "-in", str(certificate), "-noout", "-enddate").strip()
    return datetime.strptime(text, "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=timezone.utc)


def environment(member: Path) -> Dict[str, str]:
    """The variables of a member as its shell sees them."""
    command = "set -a; . ./member.env; env -0"
    shell = subprocess.run(["sh", "-c", command], cwd=member, env={}, capture_output=True, check=True)
    pairs = (pair.split("=", 1) for pair in shell.stdout.decode().split("\0") if "=" in pair)
    return {name: value for name, value in pairs if name.startswith("NANOFLEET_")}


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said about something that cannot be done; it is one message, and the exit code is 2."""
    capsys.readouterr()
    assert main(["provision", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("nanofleet provision: ")
    return said.err[len("nanofleet provision: ") :]


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A fleet's folder."""
    folder = tmp_path / "fleet"
    assert main(["provision", str(folder), *MEMBERS]) == 0
    capsys.readouterr()
    return folder


# --- what is there --------------------------------------------------------------------------------------


def test_files_and_modes(fleet: Path) -> None:
    members = ("door", "garden", "nano-1", "home", "admin")
    theirs = {f"members/{name}/{file}": mode for name in members for file, mode in MEMBER_FILES.items()}
    assert modes(fleet) == {**FILES, **theirs}
    folders = [fleet, *(path for path in fleet.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_certificates(fleet: Path) -> None:
    for ca, purpose, certificate in (
        ("ca", "sslserver", "broker/server"),
        ("ca", "sslclient", "members/door/client"),
        ("ca", "sslclient", "members/home/client"),
        ("inner-ca", "sslclient", "members/nano-1/client"),
        ("inner-ca", "sslclient", "members/admin/client"),
    ):
        file = str(fleet / f"{certificate}.crt")
        checked = ["verify", "-x509_strict", "-CAfile", str(fleet / f"ca/{ca}.crt"), "-purpose"]
        assert openssl(*checked, purpose, file).strip() == f"{file}: OK"
        other = {"sslserver": "sslclient", "sslclient": "sslserver"}[purpose]
        with pytest.raises(AssertionError, match="purpose"):
            openssl(*checked, other, file)
        key = openssl("pkey", "-in", str(fleet / f"{certificate}.key"), "-pubout")
        assert openssl("x509", "-in", file, "-noout", "-pubkey") == key
    assert len({key.read_bytes() for key in fleet.rglob("*.key")}) == 8
    assert {ca.read_bytes() for ca in fleet.glob("members/*/ca.crt")} == {(fleet / "ca/ca.crt").read_bytes()}


def test_what_a_member_is_told(fleet: Path) -> None:
    files = {
        "NANOFLEET_ROOT": "nanofleet",
        "NANOFLEET_CA_FILE": "ca.crt",
        "NANOFLEET_PASSWORD_FILE": "password",
        "NANOFLEET_CERT_FILE": "client.crt",
        "NANOFLEET_KEY_FILE": "client.key",
    }
    group = (fleet / "group").read_text().strip()
    for name, own in {
        "door": {"NANOFLEET_BROKER": "mqtts://door@localhost:8883", "NANOFLEET_CAMERA": "door"},
        "nano-1": {
            "NANOFLEET_BROKER": "mqtts://nano-1@localhost:8884",
            "NANOFLEET_WORKER_ID": "nano-1",
            "NANOFLEET_GROUP": group,
        },
        "home": {"NANOFLEET_BROKER": "mqtts://home@localhost:8883"},
        "admin": {"NANOFLEET_BROKER": "mqtts://admin@localhost:8884"},
    }.items():
        assert environment(fleet / "members" / name) == {**files, **own}
    assert re.fullmatch(r"workers-[0-9a-f]{32}", group)


def test_passwords_are_long_and_each_its_own(fleet: Path) -> None:
    passwords = [file.read_text().strip() for file in fleet.glob("members/*/password")]
    assert len(set(passwords)) == 5
    assert min(map(len, passwords)) >= 43
    stored = (fleet / "broker" / "passwords").read_text()
    assert not any(password in stored for password in passwords)


def test_nothing_secret_is_printed(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    printed = provision(folder, *MEMBERS)
    shutil.rmtree(folder / "members" / "garden")
    printed += provision(folder, "--camera", "hall") + provision(folder)
    assert "hall" in printed
    for file in [*folder.rglob("*.key"), *folder.rglob("password"), folder / "group"]:
        secrets = [line for line in file.read_text().splitlines() if not line.startswith("-----")]
        assert secrets
        assert not any(secret in printed for secret in secrets), file


def test_its_next_step_leaves_no_variables_in_the_shell(tmp_path: Path) -> None:
    printed = provision(tmp_path, "--host", "broker.local", "--worker", "nano-1")
    step = next(line for line in printed.splitlines() if "member.env" in line).replace(
        "nanofleet worker", "env"
    )
    home = tmp_path / "members" / "nano-1"
    command = ["sh", "-c", f"{step}\necho\nenv"]
    shell = subprocess.run(command, cwd=home, env={}, capture_output=True, text=True, check=True)
    inside, _, after = shell.stdout.partition("\n\n")
    assert "NANOFLEET_WORKER_ID=nano-1" in inside
    assert "NANOFLEET_WORKER_ID" not in after


def test_a_host_may_be_an_address(tmp_path: Path) -> None:
    printed = provision(tmp_path, "--host", "fe80::1,192.168.1.2,Broker.Local", "--camera", "door")
    assert "broker    fe80::1, 192.168.1.2, broker.local: made" in printed
    assert environment(tmp_path / "members/door")["NANOFLEET_BROKER"] == "mqtts://door@[fe80::1]:8883"
    text = openssl("x509", "-in", str(tmp_path / "broker/server.crt"), "-noout", "-ext", "subjectAltName")
    names = "IP Address:FE80:0:0:0:0:0:0:1, IP Address:192.168.1.2, DNS:broker.local"
    assert names in text


# --- a second run -----------------------------------------------------------------------------------------


def test_a_second_run_changes_nothing(fleet: Path) -> None:
    before = snapshot(fleet)
    assert provision(fleet).endswith("\nNothing has changed.\n")
    assert "kept" in provision(fleet, *MEMBERS)
    assert snapshot(fleet) == before


def test_secrets_are_hidden_again(fleet: Path) -> None:
    before = modes(fleet)
    for file in before:
        (fleet / file).chmod(0o644)
    provision(fleet)
    assert modes(fleet) == before


def test_a_new_member_changes_nothing_for_the_others(fleet: Path) -> None:
    before = snapshot(fleet)
    printed = provision(fleet, "--worker", "nano-2")
    new = [f"members/nano-2/{file}" for file in sorted(MEMBER_FILES)]
    assert changed(before, snapshot(fleet)) == ["broker/acl", "broker/passwords", *new]
    assert "worker    nano-2: made" in printed
    assert "worker    nano-1: kept" in printed
    assert "to the machine of nano-2;" in printed
    lines = (fleet / "broker" / "passwords").read_text().splitlines()
    assert set(before["broker/passwords"][0].decode().splitlines()) < set(lines)
    shared = [environment(fleet / "members" / name)["NANOFLEET_GROUP"] for name in ("nano-1", "nano-2")]
    assert shared[0] == shared[1]


def test_root_and_hosts_are_kept_until_others_are_named(tmp_path: Path) -> None:
    provision(tmp_path, "--root", "site/cams", "--host", "a.local,b.local", "--camera", "door")
    before = snapshot(tmp_path)
    assert "a.local, b.local: kept" in provision(tmp_path)
    assert snapshot(tmp_path) == before
    assert "b.local, c.local: changed" in provision(tmp_path, "--host", "b.local,c.local")
    assert changed(before, snapshot(tmp_path)) == ["broker/server.crt", "members/door/member.env"]
    provision(tmp_path, "--root", "elsewhere")
    told = environment(tmp_path / "members" / "door")
    assert told["NANOFLEET_ROOT"] == "elsewhere"
    assert told["NANOFLEET_BROKER"] == "mqtts://door@b.local:8883"
    assert "topic write elsewhere/frames/door\n" in (tmp_path / "broker" / "acl").read_text()
    assert "site/cams" not in (tmp_path / "broker" / "acl").read_text()


def test_the_brokers_configuration_is_ones_own_once_it_is_there(fleet: Path) -> None:
    config = fleet / "broker" / "mosquitto.conf"
    config.write_text(config.read_text() + "max_connections 50\n")
    before = snapshot(fleet)
    provision(fleet)
    assert snapshot(fleet) == before


def test_a_password_of_ones_own(fleet: Path) -> None:
    password = fleet / "members" / "door" / "password"
    password.write_text("ein schöner Gruß\r\n", encoding="utf-8")
    password.chmod(0o644)
    before = snapshot(fleet)
    printed = provision(fleet)
    assert changed(before, snapshot(fleet)) == ["broker/passwords"]
    assert "camera    door: changed" in printed
    assert "to the machine of door;" in printed
    assert modes(fleet)["members/door/password"] == 0o600
    made = (fleet / "broker" / "passwords").read_bytes()
    assert "camera    door: kept" in provision(fleet)
    assert (fleet / "broker" / "passwords").read_bytes() == made


def test_a_member_whose_password_was_removed_is_named_with_its_new_one(fleet: Path) -> None:
    (fleet / "members" / "nano-1" / "password").unlink()
    printed = provision(fleet)
    assert "worker    nano-1: changed" in printed
    assert "to the machine of nano-1;" in printed
    assert provision(fleet).endswith("\nNothing has changed.\n")


@pytest.mark.parametrize(("days", "kept", "renewed_after"), [(825, 794, 796), (9, 5, 7)])
def test_certificates_are_made_anew_30_days_before_their_end_or_after_two_thirds_of_their_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, kept: int, renewed_after: int
) -> None:
    def made(days_ago: int) -> None:
        then = datetime.now(timezone.utc) - timedelta(days=days_ago)
        with monkeypatch.context() as patched:
            patched.setattr(certificates, "_now", lambda: then)
            members = ("--camera", "door", "--worker", "nano-1")
            assert main(["provision", str(tmp_path), *members, "--days", str(days)]) == 0

    made(kept)
    before = snapshot(tmp_path)
    provision(tmp_path)
    assert snapshot(tmp_path) == before
    shutil.rmtree(tmp_path)
    made(renewed_after)
    before = snapshot(tmp_path)
    printed = provision(tmp_path)
    now = datetime.now(timezone.utc)
    renewed = ["broker/server.crt", "members/door/client.crt", "members/nano-1/client.crt"]
    assert changed(before, snapshot(tmp_path)) == renewed
    for file in renewed:
        assert timedelta(days=824) < ends(tmp_path / file) - now < timedelta(days=826)
    assert f"door: changed, certificate good until {now + timedelta(days=825):%Y-%m-%d}" in printed
    assert "to the machine of door, nano-1;" in printed


def test_no_certificate_outlives_its_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path)
    monkeypatch.setattr(certificates, "CA_LIFE", timedelta(days=40))
    assert main(["provision", folder, "--camera", "door"]) == 0
    authority = tmp_path / "ca" / "ca.crt"
    assert ends(tmp_path / "members/door/client.crt") == ends(authority)


def test_an_authority_that_ends_is_made_anew_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Since all members have to be told, it does not happen by the way."""
    monkeypatch.setattr(certificates, "CA_LIFE", timedelta(days=40))
    assert main(["provision", str(tmp_path), "--camera", "door", "--worker", "nano-1"]) == 0
    keys = {key: key.read_bytes() for key in tmp_path.rglob("*.key")}
    monkeypatch.setattr(certificates, "CA_LIFE", timedelta(days=3650))
    monkeypatch.setattr(certificates, "RENEW_WITHIN", timedelta(days=41))
    for name in ("ca", "inner-ca"):
        file = tmp_path / "ca" / f"{name}.crt"
        assert refusal(capsys, str(tmp_path)).startswith(f"{file} ends on {ends(file):%Y-%m-%d}: remove it")
        file.rename(tmp_path / f"old-{name}.crt")
    assert main(["provision", str(tmp_path)]) == 0
    assert {key: key.read_bytes() for key in tmp_path.rglob("*.key")} == keys
    # The key is the same, so a member that has not been told yet can go on under the old one.
    for ca, member in (("ca", "door"), ("inner-ca", "nano-1")):
        for authority in (tmp_path / "ca" / f"{ca}.crt", tmp_path / f"old-{ca}.crt"):
            openssl("verify", "-CAfile", str(authority), str(tmp_path / f"members/{member}/client.crt"))


def test_other_authorities_sign_everything_anew(fleet: Path) -> None:
    for file in (fleet / "ca").iterdir():
        file.unlink()
    provision(fleet)
    for ca, member in (("ca", "door"), ("inner-ca", "nano-1")):
        openssl("verify", "-CAfile", str(fleet / f"ca/{ca}.crt"), str(fleet / f"members/{member}/client.crt"))


def test_a_folder_under_another_name_is_another_member(fleet: Path) -> None:
    (fleet / "members" / "garden").rename(fleet / "members" / "yard")
    printed = provision(fleet)
    assert "member    garden: removed" in printed
    assert "camera    yard: changed" in printed
    assert environment(fleet / "members" / "yard")["NANOFLEET_CAMERA"] == "yard"
    subject = openssl("x509", "-in", str(fleet / "members/yard/client.crt"), "-noout", "-subject")
    assert subject.strip().endswith("yard")


def test_a_member_whose_folder_was_removed_is_out(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet"
    provision(fleet, "--camera", "door,garden", "--worker", "nano-1,nano-2")
    shutil.copytree(fleet, tmp_path / "before")
    broker = GuardedBroker(tmp_path, fleet).start()
    try:
        for name in ("door", "garden", "nano-1", "nano-2"):
            with Client(broker, name) as client:
                assert client.connack == 0, client.fault
        for name in ("garden", "nano-2"):
            shutil.rmtree(fleet / "members" / name)
        printed = provision(fleet)
        assert "member    garden: removed" in printed
        assert "member    nano-2: removed" in printed
        assert "members   bring" not in printed
        broker.stop()
        broker.start()
        for name, connack in (("door", 0), ("garden", REFUSED), ("nano-1", 0), ("nano-2", REFUSED)):
            with Client(broker, name, home=tmp_path / "before" / "members" / name) as client:
                assert client.connack == connack, (name, client.fault)
    finally:
        broker.stop()
    assert "garden" not in provision(fleet)


# --- runs that are cut off, and runs at once ----------------------------------------------------------------

#: Runs the command, and ends it without a word when its second file is to be put in its place.
_KILLED = """
import os, sys
from fleet.cli import main
renames = []
def count(event, arguments):
    if event == "os.rename":
        renames.append(arguments)
        if len(renames) == 2:
            os._exit(9)
sys.addaudithook(count)
sys.exit(main(["provision", *sys.argv[1:]]))
"""


def test_each_run_goes_on_where_one_was_killed(tmp_path: Path) -> None:
    """Each puts one more file in its place; kept are those that are there, and the last run is the whole."""
    folder = tmp_path / "fleet"
    command = [sys.executable, "-c", _KILLED, str(folder), "--worker", "nano-1"]
    there: Dict[str, Tuple[bytes, int, int]] = {}
    while subprocess.run(command, check=False, capture_output=True).returncode == 9:
        found = {name: state for name, state in snapshot(folder).items() if not name.endswith(".part")}
        (new,) = found.keys() - there.keys()
        assert found == {**there, new: found[new]}
        there = found
    assert len(there) == len(FILES) + len(MEMBER_FILES) - 1
    theirs = {f"members/nano-1/{file}": mode for file, mode in MEMBER_FILES.items()}
    assert modes(folder) == {**FILES, **theirs}
    assert provision(folder).endswith("\nNothing has changed.\n")
    openssl("verify", "-CAfile", str(folder / "ca/inner-ca.crt"), str(folder / "members/nano-1/client.crt"))


def test_a_disk_that_is_full_says_so_and_leaves_all_as_it_was(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_disk / "fleet"
    assert main(["provision", str(folder), "--camera", "door"]) == 0
    before = snapshot(folder)
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(4096))
    assert "No space left on device" in refusal(capsys, str(folder), "--camera", "garden")
    after = snapshot(folder)
    assert {name: after[name] for name in before} == before
    (small_disk / "ballast").unlink()
    assert main(["provision", str(folder), "--camera", "garden"]) == 0


def test_two_runs_at_once(tmp_path: Path) -> None:
    names = ["door", "garden", "hall"]
    command = [sys.executable, "-m", "fleet", "provision", str(tmp_path / "fleet"), "--camera"]
    runs = [subprocess.Popen([*command, name], stdout=subprocess.DEVNULL) for name in names]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    ca = str(tmp_path / "fleet" / "ca" / "ca.crt")
    for name in names:
        openssl("verify", "-CAfile", ca, str(tmp_path / "fleet" / "members" / name / "client.crt"))
    lines = (tmp_path / "fleet" / "broker" / "passwords").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == names


# --- what is refused --------------------------------------------------------------------------------------


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
        ("group", b"a/b\n", "group: expected 1 to 64 letters"),
        (
            "members/door/role",
            b"king\n",
            "role: expected one of camera, worker, listener, operator, not 'king'",
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


def test_help_teaches() -> None:
    shown = nanofleet("provision", "--help", env={**os.environ, "COLUMNS": "110"}).stdout
    for word in ("--host broker.local --camera door,garden", "camera ", "worker ", "listener ", "operator "):
        assert word in shown
    assert "rm -r ~/fleet/members/garden" in shown
    assert "provision " in nanofleet("--help").stdout
