"""`nanofleet provision`: a fleet's certificates, passwords and Mosquitto ACL, in one folder.

    FOLDER/root             the first level of its topics
    FOLDER/group            the workers' --group, which no camera can guess
    FOLDER/extra.acl        yours, if you want one: rights on other topics, which go into the broker's ACL
    FOLDER/ca/              ca.key, ca.crt, inner-ca.key, inner-ca.crt
    FOLDER/broker/          ca.crt, inner-ca.crt, server.key, server.crt, passwords, acl, mosquitto.conf
    FOLDER/members/NAME/    role, ca.crt, client.key, client.crt, password, member.env

The folder is all the state there is: each run reads what is there, and adds what is missing. A run that was
cut off is therefore completed by the next one.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Dict, List, Sequence

from fleet.files import hide, put
from fleet.provision.certificates import Authority, hosts_of
from fleet.provision.mosquitto import (
    INNER_PORT,
    INNER_ROLES,
    OUTER_PORT,
    acl,
    config,
    has_another_password,
    passwords,
    users,
)
from fleet.provision.settings import ProvisionSettings, plain_member, plain_root
from wire.errors import SettingsError
from wire.files import SECRET, locked
from wire.printable import printable, show
from wire.topics import is_id

_OURS = {"root", "group", "extra.acl", "ca", "broker", "members"}
#: In the order in which they are listed.
ROLES = ("camera", "worker", "listener", "operator")


def provision(settings: ProvisionSettings) -> int:
    """Create what is missing in a fleet's folder, and say what was done; returns the exit code.

    Raises:
        SettingsError: a member would have two roles, or a file cannot be used.
    """
    folder = settings.folder
    try:
        _make(folder)
        with locked(folder):
            _check_is_ours(folder)
            fleet = Fleet(
                folder,
                root=_root(folder / "root", settings),
                group=_group(folder / "group"),
                hosts=_hosts(folder / "broker" / "server.crt", settings),
                members=_members(folder / "members", settings),
                days=settings.days,
            )
            done = fleet.write()
    except OSError as error:
        raise SettingsError(f"{error.filename or folder}: {error.strerror or error}") from None
    _tell(folder, done)
    return 0


@dataclass(frozen=True)
class Done:
    """What a run has made, changed, kept or removed, to be told."""

    kind: str
    name: str
    state: str
    detail: str = ""


@dataclass(frozen=True)
class Fleet:
    """A fleet as it should be; `write` makes the folder so.

    Attributes:
        folder: where.
        root: the first level of its topics.
        group: the name by which workers share frames.
        hosts: the broker's names and IP addresses; members connect to the first.
        members: the role of each, by name.
        days: the validity of certificates that are made.
    """

    folder: Path
    root: str
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
            _make(self.folder / name)
        outer = Authority(self.folder / "ca" / "ca", "nanofleet CA")
        inner = Authority(self.folder / "ca" / "inner-ca", "nanofleet inner CA")
        put(self.folder / "root", f"{self.root}\n")
        put(self.folder / "group", f"{self.group}\n", SECRET)
        members = [self._write_member(name, outer, inner) for name in self.members]
        return [*self._write_broker(outer, inner), *members]

    def _write_member(self, name: str, outer: Authority, inner: Authority) -> Done:
        role, home = self.members[name], self.folder / "members" / name
        _make(home)
        new = put(home / "role", f"{role}\n")
        password = _password(home / "password")
        rotated = has_another_password(_read(self.folder / "broker" / "passwords"), name, password)
        # All trust the broker by the outer CA; the inner one tells workers and operators from the others.
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
            **({"CAMERA": name} if role == "camera" else {}),
            **({"WORKER_ID": name, "GROUP": self.group} if role == "worker" else {}),
        }
        lines = [f"NANOFLEET_{variable}={shlex.quote(value)}\n" for variable, value in variables.items()]
        return (
            f"# The {role} {name}. Written by `nanofleet provision`, and anew by each run of it.\n"
            f"# The paths are relative: run nanofleet in this folder.\n{''.join(lines)}"
        )

    def _write_broker(self, outer: Authority, inner: Authority) -> List[Done]:
        home = self.folder / "broker"
        new = not (home / "mosquitto.conf").exists()
        if new:
            put(home / "mosquitto.conf", config())
        before = _read(home / "passwords")
        secret = {name: _password(self.folder / "members" / name / "password") for name in self.members}
        written = [
            put(home / "ca.crt", outer.pem),
            put(home / "inner-ca.crt", inner.pem),
            # Yours comes first: what it says before its first `user` is then said to nobody.
            put(home / "acl", f"{_read(self.folder / 'extra.acl')}\n{acl(self.root, self.members)}"),
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


# --- what there is, and what is asked for ----------------------------------------------------------------


def _check_is_ours(folder: Path) -> None:
    """Keys have no business in a folder of something else, such as a repository."""
    others = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - _OURS
    if others and not (folder / "root").exists():
        raise SettingsError(f"{folder} holds no fleet, but {min(others)}: name a folder of the fleet's own")


def _members(homes: Path, settings: ProvisionSettings) -> Dict[str, str]:
    """The role of each member: of those that have a folder, and of those that are to have one."""
    given = [(name, role) for role in ROLES for name in getattr(settings, role)]
    found = [home for home in homes.iterdir() if home.is_dir()] if homes.exists() else []
    members = {home.name: _role(home, dict(given)) for home in found}
    for name, role in given:
        if members.setdefault(name, role) != role:
            raise SettingsError(
                f"--{role} {name}: there is a {members[name]} of that name; give each member its own"
            )
    return dict(sorted(members.items(), key=lambda item: (ROLES.index(item[1]), item[0])))


def _role(home: Path, given: Dict[str, str]) -> str:
    try:
        plain_member(home.name)
    except ValueError as error:
        raise SettingsError(f"{home}: {error}; move that folder away") from None
    file = home / "role"
    # A run that was cut off may have left the folder alone.
    role = _read(file).strip() if file.exists() else given.get(home.name, "")
    if role not in ROLES:
        raise SettingsError(
            f"{file}: expected one of {', '.join(ROLES)}, not {role!r}; write it there, or remove {home}"
        )
    return role


def _root(file: Path, settings: ProvisionSettings) -> str:
    """The fleet's root: the one that is given, or else the one of the run before."""
    if "root" in settings.model_fields_set or not file.exists():
        return settings.root
    try:
        return plain_root(_read(file).rstrip("\n"))
    except ValueError as error:
        raise SettingsError(f"{file}: {error}; say it with --root") from None


def _group(file: Path) -> str:
    # Whoever subscribes as one of the group gets a share of the frames, and where the ACL denies it to read
    # them, Mosquitto throws that share away. A camera may subscribe to anything, but has to know the name.
    group = _read(file).rstrip("\n") or f"workers-{secrets.token_hex(16)}"
    if not is_id(group):
        raise SettingsError(
            f"{file}: expected 1 to 64 letters, digits, - and _; remove it to have another made"
        )
    return group


def _hosts(certificate: Path, settings: ProvisionSettings) -> List[str]:
    """The broker's names: those that are given, or else those of its certificate."""
    return settings.host if "host" in settings.model_fields_set else hosts_of(certificate) or settings.host


def _password(file: Path) -> str:
    """A member's password; made if there is none."""
    if not file.exists():
        put(file, secrets.token_urlsafe(32) + "\n", SECRET)
    hide(file)
    password = _read(file).rstrip("\r\n")  # as the member will read it
    if not password:
        raise SettingsError(f"{file} is empty: remove it, and another password will be made")
    return password


def _read(file: Path) -> str:
    """A file's text; none if there is no file."""
    try:
        return file.read_text(encoding="utf-8") if file.exists() else ""
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: expected text in UTF-8") from None


def _make(folder: Path) -> None:
    """Make a folder for this user alone; one that exists keeps its mode."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise SettingsError(f"{folder}: that is a file, and a folder is needed there") from None


# --- what is told -----------------------------------------------------------------------------------------


def _state(new: bool, changed: bool) -> str:
    return "made" if new else "changed" if changed else "kept"


def _until(ends: datetime) -> str:
    return f"certificate good until {ends:%Y-%m-%d}"


def _tell(folder: Path, done: Sequence[Done]) -> None:
    """Print what there is, what is new, and what to do next; nothing secret."""
    for each in done:
        words = ", ".join(word for word in (each.name and f"{each.name}: {each.state}", each.detail) if word)
        show(f"{each.kind:<10}{words}")
    changed = [each for each in done if each.state not in ("", "kept")]
    if not changed:
        print("\nNothing has changed.")
        return
    here = printable(shlex.quote(str(folder)))
    names = ", ".join(each.name for each in changed if each.kind in ROLES)
    print(
        f"\nNext:\n"
        f"  broker    sudo install -m 600 -o mosquitto {here}/broker/* /etc/mosquitto/\n"
        f"            sudo systemctl restart mosquitto"
    )
    if names:
        print(
            f"  members   bring {here}/members/NAME to the machine of {names}; there, in that folder:\n"
            f"            (set -a; . ./member.env; nanofleet worker)    # a camera: nanofleet publish photos/"
        )
    print(f"  you       keep {here}/ca to yourself: whoever has the keys in it can make members")
