"""Settings of `nanofleet provision`."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import List

from pydantic import Field, field_validator

from fleet.provision.rights import ROLES
from wire.broker import BrokerSettings
from wire.discovery import DISCOVERY_PREFIX
from wire.settings import POSITIONAL, Names, Settings
from wire.topics import is_id

#: What the client ids of nanofleet's own programs begin with.
_RESERVED = "nanofleet-"
# Names of compose services may have an underscore.
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9])?)*")


class ProvisionSettings(Settings):
    """Create a fleet's certificates, passwords and Mosquitto ACL, or add members to it.

    nanofleet provision ~/fleet --host broker.local --camera door,garden --worker nano-1,nano-2
    nanofleet provision ~/fleet --homeassistant home --operator admin
    rm -r ~/fleet/members/garden; nanofleet provision ~/fleet

    The folder holds all there is. Running it again keeps what exists, adds what is new, and makes
    certificates again that end within 30 days, or have two thirds of a shorter life behind them. A member
    whose folder was removed is out, once Mosquitto has the new files and was restarted.

      camera         writes its own frames, reads its own answers
      worker         reads all frames, writes all answers, snapshots and its own status; and observes
      observer       keeps the cameras' states and announces them to Home Assistant, in the workers' place
      listener       reads all answers, statuses, states and snapshots: dashboards
      homeassistant  reads states, snapshots and announcements, chooses models, restarts workers
      operator       a listener that also changes models and cameras' settings, removes cameras and workers,
                     and sends frames as any camera

    Once there is an observer, the workers' machines may not write states and announcements any more.

    deploy/mosquitto/README.md in nanofleet's repository lists the rights of each in full.
    """

    folder: Path = Field(description="Where the fleet's files are, or will be", json_schema_extra=POSITIONAL)
    host: Names = Field(
        ["localhost"],
        description="Names and IP addresses of the broker, for its certificate; members connect to the "
        "first. A later run keeps them unless it names others",
    )
    root: str = Field(
        "nanofleet", max_length=256, description="First level of the fleet's topics; kept like the hosts"
    )
    discovery_prefix: str = Field(
        DISCOVERY_PREFIX,
        max_length=256,
        description="Home Assistant's discovery prefix, below which it is told of cameras and workers; kept "
        "like the hosts",
    )
    camera: Names = Field([], description="Cameras to add")
    worker: Names = Field([], description="Workers to add, by their --worker-id")
    observer: Names = Field([], description="Observers to add, which have no model; then no worker observes")
    listener: Names = Field([], description="Listeners to add")
    homeassistant: Names = Field([], description="Home Assistants to add")
    operator: Names = Field([], description="Operators to add")
    days: int = Field(825, ge=1, le=3650, description="Validity of certificates that are made")

    @field_validator(*ROLES)
    @classmethod
    def _members_are_plain(cls, members: List[str]) -> List[str]:
        return [plain_member(member) for member in members]

    @field_validator("host")
    @classmethod
    def _hosts_are_plain(cls, hosts: List[str]) -> List[str]:
        if not hosts:
            raise ValueError("name at least one: broker.local, or 192.168.1.2")
        return list(dict.fromkeys(plain_host(host) for host in hosts))

    @field_validator("root", "discovery_prefix")
    @classmethod
    def _topic_is_plain(cls, topic: str) -> str:
        return plain_topic(topic)


def plain_member(name: str) -> str:
    """A member's name, which is its user's and, for a worker or a camera, its id.

    Raises:
        ValueError: it cannot be one.
    """
    if not is_id(name):
        raise ValueError(f"a member is 1 to 64 letters, digits, - and _, not {name!r}")
    if name.startswith(_RESERVED):
        raise ValueError(f"{name!r} could be the MQTT client id of another: {_RESERVED}… is nanofleet's own")
    return name


def plain_topic(topic: str) -> str:
    """A root, or a discovery prefix, that an ACL can hold.

    Raises:
        ValueError: it is no plain topic.
    """
    # A line break would add a line to the ACL.
    if " " in topic or not topic.isprintable():
        raise ValueError(f"a topic without spaces and control characters, not {topic!r}")
    return BrokerSettings._root_is_plain(topic)


def plain_host(host: str) -> str:
    """A host as a certificate names it.

    Raises:
        ValueError: it is neither a name nor an IP address.
    """
    try:
        if "%" not in host:  # a zone, as in fe80::1%eth0, means something on one machine only
            return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        name = host.encode("idna").decode().lower()
    except UnicodeError:
        name = ""
    if not _HOST.fullmatch(name):
        raise ValueError(f"a name such as broker.local or an IP address, not {host!r}")
    return name
