"""Mosquitto's files for a fleet, but for the rights: each member's password, and the ports.

port    who                              their certificates are signed by    their MQTT client id is
8883    cameras, listeners,              ca.crt                              their user name, whatever
        Home Assistant                                                       they send
8884    workers, observers, operators    inner-ca.crt                        what they send

Two ports, because a client id is the key to a session: a client that connects with a worker's takes over the
frames that wait for it, and Mosquitto drops those that it may not read. Workers need each other's client ids
for adoption; nobody else may use one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Dict, List, Mapping, Optional

OUTER_PORT = 8883
INNER_PORT = 8884

# The passwords made here are random: nobody can guess them, however fast. A password that somebody has put in
# their place is protected a little; each login costs the broker, which has one thread, these iterations.
_ITERATIONS = 1000

#: The limits of deploy/mosquitto/mosquitto.conf, which explains them; a test compares.
LIMITS = {
    "max_packet_size": "16777216",
    "max_inflight_messages": "100",
    "max_queued_messages": "10000",
    "max_queued_bytes": "256000000",
    "set_tcp_nodelay": "true",
    "persistence": "true",
    "persistence_location": "/var/lib/mosquitto/",
    "autosave_interval": "5",
    "autosave_on_changes": "false",
}

_CONFIG = f"""\
# Written once by `nanofleet provision`, and yours from then on: a later run leaves it as it is.
# It takes the place of /etc/mosquitto/mosquitto.conf.

# Cameras, listeners, Home Assistant. Their client id is their user name, so that none of them can take a
# worker's session.
# The connections to both ports stay below the 1024 open files that a process usually may have: whoever opens
# more here locks no worker out. For a larger fleet raise LimitNOFILE of the broker's unit, and these.
listener {OUTER_PORT}
max_connections 700
# At QoS 2 a camera could have the broker keep 64 packets with all their properties, whoever reads them.
max_qos 1
use_username_as_clientid true
certfile /etc/mosquitto/server.crt
keyfile /etc/mosquitto/server.key
cafile /etc/mosquitto/ca.crt
# false lets those in who have their password alone: some cameras cannot show a certificate.
require_certificate true

# Workers, observers, operators. No camera's certificate is good here: another CA has signed theirs.
listener {INNER_PORT}
max_connections 250
max_qos 1
certfile /etc/mosquitto/server.crt
keyfile /etc/mosquitto/server.key
cafile /etc/mosquitto/inner-ca.crt
require_certificate true

allow_anonymous false
password_file /etc/mosquitto/passwords
acl_file /etc/mosquitto/acl

# deploy/mosquitto/mosquitto.conf of nanofleet's repository explains these.
"""


def config() -> str:
    """The configuration for a Mosquitto whose files are in /etc/mosquitto."""
    return _CONFIG + "".join(f"{option} {value}\n" for option, value in LIMITS.items())


def passwords(before: str, members: Mapping[str, str]) -> str:
    """Mosquitto's password file: one line a member, and the same line for the same password.

    Args:
        before: the file as it is.
        members: the password of each, by name.
    """
    known = _entries(before)
    lines = []
    for name, password in members.items():
        entry = known.get(name, "")
        lines.append(f"{name}:{entry if _matches(password, entry) else _hashed(password)}\n")
    return "".join(lines)


def users(file: str) -> List[str]:
    """The names in a password file."""
    return list(_entries(file))


def has_another_password(file: str, name: str, password: str) -> bool:
    """Whether a password file lets a member in, and not by this password."""
    entry = _entries(file).get(name)
    return entry is not None and not _matches(password, entry)


def _entries(file: str) -> Dict[str, str]:
    return dict(line.split(":", 1) for line in file.splitlines() if ":" in line)


def _hashed(password: str, salt: Optional[bytes] = None) -> str:
    """A password as Mosquitto 2 keeps it: `$7$iterations$salt$hash`, by PBKDF2 with SHA-512."""
    salt = salt or secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _matches(password: str, entry: str) -> bool:
    try:
        salt = base64.b64decode(entry.split("$")[3], validate=True)
    except (IndexError, binascii.Error):
        return False
    return hmac.compare_digest(_hashed(password, salt), entry)
