"""The main of a container's health check: asks all front ends of the worker beside it.

    python -m worker.processes.probe healthz

It knows them by the variables that the worker has: NANOFLEET_METRICS_PORT, NANOFLEET_PROCESSES. The exit code
is 0 if one at least says ok and none anything else. One that does not listen is not counted: it was drained,
or the supervisor is about to start it again.
"""

from __future__ import annotations

import http.client
import os
import sys
from typing import Mapping, Optional, Sequence

#: Seconds in which a front end must answer, of the few that a health check has for all.
_TIMEOUT = 3.0


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Ask; returns the exit code."""
    (what,) = arguments
    first = int(environ.get("NANOFLEET_METRICS_PORT", "9464"))
    ports = range(first, first + int(environ.get("NANOFLEET_PROCESSES", "1")))
    said = {port: _ask(port, what) for port in ports}
    print(", ".join(f"{port}: {answer or 'does not listen'}" for port, answer in said.items()))
    return 0 if set(said.values()) - {None} == {"ok"} else 1


def _ask(port: int, what: str) -> Optional[str]:
    """What is answered there; None if nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    try:
        connection.request("GET", f"/{what}")
        return connection.getresponse().read().decode("utf-8", "replace").strip()
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
