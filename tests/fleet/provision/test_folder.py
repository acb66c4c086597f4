"""The folder of `nanofleet provision`: what is in it, also after a run that was cut off."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Dict, Tuple

import pytest

from fleet.cli import main
from fleet.provision.rights import ROLES
from tests.fleet.provision.folder import (
    FILES,
    MEMBER_FILES,
    MEMBERS,
    environment,
    modes,
    openssl,
    refusal,
    snapshot,
)
from tests.fleet.provisioned import provision
from tests.harness import nanofleet


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


def test_the_environment_of_a_member(fleet: Path) -> None:
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
    printed += provision(folder, "--camera", "hall", "--homeassistant", "ha") + provision(folder)
    assert "hall" in printed
    assert "homeassistant ha: made" in printed
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
    assert "No space left on device" in refusal(capsys, str(folder), "--camera", "garden", code=1)
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


def test_help_teaches() -> None:
    shown = nanofleet("provision", "--help", env={**os.environ, "COLUMNS": "110"}).stdout
    assert "--host broker.local --camera door,garden" in shown
    for role in ROLES:
        assert f"\n  {role} " in shown
    assert "rm -r ~/fleet/members/garden" in shown
    assert "provision " in nanofleet("--help").stdout
