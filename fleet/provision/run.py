"""`nanofleet provision`: a fleet's certificates, passwords and Mosquitto ACL, in one folder.

    FOLDER/root             the first level of its topics
    FOLDER/discovery-prefix below which Home Assistant is told of cameras and workers
    FOLDER/group            the workers' --group, which no camera can guess
    FOLDER/extra.acl        yours, if you want one: rights on other topics, which go into the broker's ACL
    FOLDER/ca/              ca.key, ca.crt, inner-ca.key, inner-ca.crt
    FOLDER/broker/          ca.crt, inner-ca.crt, server.key, server.crt, passwords, acl, mosquitto.conf
    FOLDER/members/NAME/    role, ca.crt, client.key, client.crt, password, member.env

The folder is all the state there is: each run reads what is there, and adds what is missing. A run that was
cut off is therefore completed by the next one.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Sequence

from fleet.provision.folder import Done, make
from fleet.provision.rights import ROLES
from fleet.provision.settings import ProvisionSettings
from fleet.provision.wanted import wanted
from wire.errors import failure_of
from wire.files import locked
from wire.printable import printable, show


def provision(settings: ProvisionSettings) -> int:
    """Create what is missing in a fleet's folder, and print what was done; returns the exit code.

    Raises:
        SettingsError: a member would have two roles, or a file cannot be used.
        NanofleetError: a file cannot be written now.
    """
    folder = settings.folder
    try:
        make(folder)
        with locked(folder):
            done = wanted(settings).write()
    except OSError as error:
        raise failure_of(str(error.filename or folder), error) from None
    _report(folder, done)
    return 0


def _report(folder: Path, done: Sequence[Done]) -> None:
    """Print what there is, what is new, and what to do next; nothing secret."""
    for each in done:
        words = ", ".join(word for word in (each.name and f"{each.name}: {each.state}", each.detail) if word)
        show(f"{each.kind:<9} {words}")
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
