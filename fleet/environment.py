"""The NANOFLEET_… variables: each is some command's setting, or the orchestrator's service link."""

from __future__ import annotations

import difflib
import re
from typing import AbstractSet, MutableMapping

from wire.errors import SettingsError
from wire.settings import ENV_PREFIX

#: What Kubernetes and Docker set for a service called NAME: NAME_SERVICE_HOST, NAME_SERVICE_PORT_HTTP,
#: NAME_PORT_80_TCP_ADDR, …; and NAME_PORT, which only differs from a setting by its value, tcp://10.0.0.1:80.
_LINK = re.compile(r".+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://.+")


def drop_service_links(environment: MutableMapping[str, str]) -> None:
    """Remove the variables of services whose names begin with `nanofleet`: they are no settings.

    Kubernetes sets them in each pod of a namespace, for each of its services. The one for a service called
    nanofleet-metrics has the name of a setting, NANOFLEET_METRICS_PORT.
    """
    for name, value in list(environment.items()):
        link = _LINK.fullmatch(name) or (name.endswith("_PORT") and _ADDRESS.fullmatch(value))
        if link and name.startswith(ENV_PREFIX):
            del environment[name]


def check_variables(environment: MutableMapping[str, str], known: AbstractSet[str]) -> None:
    """Refuse a misspelt variable, which would otherwise be ignored silently.

    Raises:
        SettingsError: a NANOFLEET_… variable is no setting of any command.
    """
    for variable in sorted(environment):
        if variable.startswith(ENV_PREFIX) and variable not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise SettingsError(f"{variable}: there is no such setting{hint}")
