"""A folder of `nanofleet provision`: what is in it, and what is read of it."""

from __future__ import annotations

import stat
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from fleet.cli import main
from tests.harness import need

MEMBERS = ("--camera", "door,garden", "--worker", "nano-1", "--listener", "home", "--operator", "admin")

FILES = {
    "root": 0o644,
    "discovery-prefix": 0o644,
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
    """All that a second run could change: contents, and by whether they were written again."""
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


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """What is said about something that cannot be done; it is one message, and the exit code."""
    capsys.readouterr()
    assert main(["provision", *arguments]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("nanofleet provision: ")
    return said.err[len("nanofleet provision: ") :]
