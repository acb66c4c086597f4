"""The fleet that is asked for: what a run's settings name, and what the runs before have left."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Dict, List

from fleet.provision.certificates import hosts_of
from fleet.provision.folder import FleetFolder, read
from fleet.provision.rights import ROLES
from fleet.provision.settings import ProvisionSettings, plain_member, plain_topic
from wire.errors import SettingsError
from wire.flags import flag_of
from wire.topics import is_id

_OURS = {"root", "discovery-prefix", "group", "extra.acl", "ca", "broker", "members"}


def wanted(settings: ProvisionSettings) -> FleetFolder:
    """The folder as it should be after this run.

    Raises:
        SettingsError: the folder is of something else, a member has two roles, or a file cannot be used.
        OSError: a file cannot be read.
    """
    folder = settings.folder
    _check_is_ours(folder)
    root = _topic(folder / "root", "root", settings)
    prefix = _topic(folder / "discovery-prefix", "discovery_prefix", settings)
    if f"{prefix}/".startswith(f"{root}/"):
        raise SettingsError(
            f"--discovery-prefix {prefix}: that is within the fleet's own topics, {root}/…; name another"
        )
    return FleetFolder(
        folder,
        root=root,
        prefix=prefix,
        group=_group(folder / "group"),
        hosts=_hosts(folder / "broker" / "server.crt", settings),
        members=_members(folder / "members", settings),
        days=settings.days,
    )


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
    role = read(file).strip() if file.exists() else given.get(home.name, "")
    if role not in ROLES:
        raise SettingsError(
            f"{file}: expected one of {', '.join(ROLES)}, not {role!r}; write it there, or remove {home}"
        )
    return role


def _topic(file: Path, setting: str, settings: ProvisionSettings) -> str:
    """The topic that is given, or else the one of the run before."""
    if setting in settings.model_fields_set or not file.exists():
        given: str = getattr(settings, setting)
        return given
    try:
        return plain_topic(read(file).rstrip("\n"))
    except ValueError as error:
        raise SettingsError(f"{file}: {error}; name it with {flag_of(setting)}") from None


def _group(file: Path) -> str:
    # A client that subscribes as one of the group gets a share of the frames, and Mosquitto drops that share
    # if the ACL denies reading it. A camera may subscribe to anything, but has to know the name.
    group = read(file).rstrip("\n") or f"workers-{secrets.token_hex(16)}"
    if not is_id(group):
        raise SettingsError(
            f"{file}: expected 1 to 64 letters, digits, - and _; remove it to have another made"
        )
    return group


def _hosts(certificate: Path, settings: ProvisionSettings) -> List[str]:
    """The broker's names: those that are given, or else those of its certificate."""
    return settings.host if "host" in settings.model_fields_set else hosts_of(certificate) or settings.host
