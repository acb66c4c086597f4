"""A fleet's folder: each part of it is written if it is missing, or not as it should be."""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Dict, List, Sequence

from fleet.files import hide, put
from fleet.provision.certificates import Authority
from fleet.provision.mosquitto import (
    INNER_PORT,
    OUTER_PORT,
    config,
    has_another_password,
    passwords,
    users,
)
from fleet.provision.rights import INNER_ROLES, acl, workers_observe
from wire.discovery import DISCOVERY_PREFIX
from wire.errors import SettingsError
from wire.files import SECRET


@dataclass(frozen=True)
class Done:
    """Something that a run has made, changed, kept or removed, for the report."""

    kind: str
    name: str
    state: str
    detail: str = ""


@dataclass(frozen=True)
class FleetFolder:
    """The folder of a fleet as it should be; `write` makes it so.

    Attributes:
        folder: where.
        root: the first level of its topics.
        prefix: Home Assistant's discovery prefix.
        group: the name by which workers share frames.
        hosts: the broker's names and IP addresses; members connect to the first.
        members: the role of each, by name.
        days: the validity of certificates that are made.
    """

    folder: Path
    root: str
    prefix: str
    group: str
    hosts: Sequence[str]
    members: Dict[str, str]
    days: int

    def write(self) -> List[Done]:
        """Write what is missing, or not as it should be.

        Raises:
            SettingsError: a file that is there cannot be used.
            OSError: a file cannot be read or written.
        """
        for name in ("ca", "broker", "members"):
            make(self.folder / name)
        outer = Authority(self.folder / "ca" / "ca", "nanofleet CA")
        inner = Authority(self.folder / "ca" / "inner-ca", "nanofleet inner CA")
        put(self.folder / "root", f"{self.root}\n")
        put(self.folder / "discovery-prefix", f"{self.prefix}\n")
        put(self.folder / "group", f"{self.group}\n", SECRET)
        members = [self._write_member(name, outer, inner) for name in self.members]
        return [*self._write_broker(outer, inner), *members]

    def _write_member(self, name: str, outer: Authority, inner: Authority) -> Done:
        role, home = self.members[name], self.folder / "members" / name
        make(home)
        new = put(home / "role", f"{role}\n")
        password = _password(home / "password")
        rotated = has_another_password(read(self.folder / "broker" / "passwords"), name, password)
        # All trust the broker by the outer CA; the inner one signs who connects to the inner port.
        written = [put(home / "ca.crt", outer.pem), put(home / "member.env", self._environment(name), SECRET)]
        signer = inner if role in INNER_ROLES else outer
        certificate = signer.certify(home / "client", name, self.days)
        return Done(
            role, name, _state(new, rotated or any(written) or certificate.new), _until(certificate.ends)
        )

    def _environment(self, name: str) -> str:
        role, host = self.members[name], self.hosts[0]
        address = f"[{host}]" if ":" in host else host
        port = INNER_PORT if role in INNER_ROLES else OUTER_PORT
        variables = {
            "BROKER": f"mqtts://{name}@{address}:{port}",
            "ROOT": self.root,
            "CA_FILE": "ca.crt",
            "PASSWORD_FILE": "password",
            "CERT_FILE": "client.crt",
            "KEY_FILE": "client.key",
            **self._own(name, role),
        }
        lines = [f"NANOFLEET_{variable}={shlex.quote(value)}\n" for variable, value in variables.items()]
        return (
            f"# The {role} {name}. Written by `nanofleet provision`, and again by each run of it.\n"
            f"# The paths are relative: run nanofleet in this folder.\n{''.join(lines)}"
        )

    def _own(self, name: str, role: str) -> Dict[str, str]:
        """The variables of one role alone."""
        announces = {"DISCOVERY_PREFIX": self.prefix} if self.prefix != DISCOVERY_PREFIX else {}
        if role == "camera":
            return {"CAMERA": name}
        if role == "observer":
            return {"OBSERVER_ID": name, **announces}
        if role == "worker":
            observes = announces if workers_observe(self.members) else {"OBSERVE": "false"}
            return {"WORKER_ID": name, "GROUP": self.group, **observes}
        return announces if role == "operator" else {}  # who removes a camera, there as well

    def _write_broker(self, outer: Authority, inner: Authority) -> List[Done]:
        home = self.folder / "broker"
        new = not (home / "mosquitto.conf").exists()
        if new:
            put(home / "mosquitto.conf", config())
        before = read(home / "passwords")
        secret = {name: _password(self.folder / "members" / name / "password") for name in self.members}
        written = [
            put(home / "ca.crt", outer.pem),
            put(home / "inner-ca.crt", inner.pem),
            # Yours comes first: then a rule of yours before any `user` applies to no member.
            put(
                home / "acl",
                f"{read(self.folder / 'extra.acl')}\n{acl(self.root, self.prefix, self.members)}",
            ),
            put(home / "passwords", passwords(before, secret), SECRET),
        ]
        server = outer.certify(home / "server", "nanofleet broker", self.days, self.hosts)
        state = _state(new, any(written) or server.new)
        removed = [Done("member", name, "removed") for name in users(before) if name not in self.members]
        return [
            Done("CA", "", "", _until(min(outer.ends, inner.ends))),
            Done("broker", ", ".join(self.hosts), state, _until(server.ends)),
            *removed,
        ]


def _password(file: Path) -> str:
    """A member's password; made if there is none."""
    if not file.exists():
        put(file, secrets.token_urlsafe(32) + "\n", SECRET)
    hide(file)
    password = read(file).rstrip("\r\n")  # as the member will read it
    if not password:
        raise SettingsError(f"{file} is empty: remove it, and another password will be made")
    return password


def read(file: Path) -> str:
    """A file's text; none if there is no file."""
    try:
        return file.read_text(encoding="utf-8") if file.exists() else ""
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: expected text in UTF-8") from None


def make(folder: Path) -> None:
    """Make a folder for this user alone; one that exists keeps its mode."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise SettingsError(f"{folder}: that is a file, and a folder is needed there") from None


def _state(new: bool, changed: bool) -> str:
    return "made" if new else "changed" if changed else "kept"


def _until(ends: datetime) -> str:
    return f"certificate good until {ends:%Y-%m-%d}"
