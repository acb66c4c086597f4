"""What `nanofleet provision` can be told."""

from __future__ import annotations

import ipaddress
import re
from typing import List

from pydantic import Field, field_validator

from wire.broker import BrokerSettings
from wire.settings import POSITIONAL, Names, Settings
from wire.topics import is_id

# Names of compose services may have an underscore.
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9])?)*")


class ProvisionSettings(Settings):
    """Create a fleet's certificates, passwords and Mosquitto ACL, or add members to it.

    nanofleet provision fleet/ --host broker.local --camera door,garden --worker nano-1,nano-2
    nanofleet provision fleet/ --listener homeassistant --operator admin

    The folder holds all there is. Running it again keeps what exists, adds what is new, and renews
    certificates that end within 30 days. A member whose folder is removed is out after the next run, once
    Mosquitto has the new files.
    """

    folder: str = Field(description="Where the fleet's files are, or will be", json_schema_extra=POSITIONAL)
    host: Names = Field(
        ["localhost"],
        description="Names and IP addresses of the broker, for its certificate; members use the first",
    )
    root: str = Field("nanofleet", description="First level of the fleet's topics")
    camera: Names = Field([], description="Cameras: each sends frames as itself, and reads its own answers")
    worker: Names = Field([], description="Workers: they read frames, and write answers")
    listener: Names = Field([], description="Home Assistant, dashboards: they read answers and statuses")
    operator: Names = Field([], description="Listeners that may also change models and send frames")
    days: int = Field(825, ge=1, le=3650, description="Validity of the broker's and members' certificates")

    @field_validator("camera", "worker", "listener", "operator")
    @classmethod
    def _members_are_ids(cls, members: List[str]) -> List[str]:
        wrong = [member for member in members if not is_id(member)]
        if wrong:
            raise ValueError(f"a member is 1 to 64 letters, digits, - and _, not {', '.join(wrong)}")
        return members

    @field_validator("host")
    @classmethod
    def _hosts_are_hosts(cls, hosts: List[str]) -> List[str]:
        if not hosts:
            raise ValueError("name at least one: broker.local, or 192.168.1.2")
        return [_host(host) for host in hosts]

    @field_validator("root")
    @classmethod
    def _root_is_plain(cls, root: str) -> str:
        # A line break would add a line to the ACL.
        if " " in root or not root.isprintable():
            raise ValueError(f"a topic without spaces and control characters, not {root!r}")
        return BrokerSettings._root_is_plain(root)


def _host(host: str) -> str:
    """A host as a certificate names it."""
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
