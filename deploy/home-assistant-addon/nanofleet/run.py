"""Start nanofleet in the app's container, set as the user of Home Assistant has set it.

/data/options.json          ->  flags
the Supervisor's service    ->  --broker, and the password in the environment
root                        ->  the user nanofleet, who gets no Supervisor's token
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional
from urllib.parse import quote

#: As the Dockerfile has it.
USER = 10001
NAME = "home-assistant"
#: Options that are called as their flags, for a worker and for an observer.
WORKERS, OBSERVERS = ("root", "log_level", "snapshot_every", "input"), ("root", "log_level")


class Broker(NamedTuple):
    """Where the broker is, and how to get in."""

    url: str
    password: str = ""


def main(
    data: str = "/data",
    config: str = "/config",
    models: str = "/models",
    supervisor: str = "http://supervisor",
    user: int = USER,
) -> None:
    """Become `nanofleet worker`, or `nanofleet observe`."""
    options = json.loads(Path(data, "options.json").read_text())
    broker = own_broker(options) or supervisors_broker(supervisor, os.environ["SUPERVISOR_TOKEN"])
    command = command_line(options, broker.url, Path(config), Path(models))
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_TOKEN")}
    if broker.password:
        environment["NANOFLEET_PASSWORD"] = broker.password
    state = Path(data, "nanofleet")
    state.mkdir(exist_ok=True)
    environment.update(HOME=str(state), STATE_DIRECTORY=str(state))
    become(user, state)
    program = str(Path(sys.executable).with_name("nanofleet"))
    os.execve(program, ["nanofleet", *command], environment)


def own_broker(options: Dict[str, Any]) -> Optional[Broker]:
    """The broker of the options, if they name one."""
    return Broker(options["broker"], options.get("password", "")) if options.get("broker") else None


def supervisors_broker(supervisor: str, token: str) -> Broker:
    """The broker that another app provides; waits until one does."""
    request = urllib.request.Request(
        f"{supervisor}/services/mqtt", headers={"Authorization": f"Bearer {token}"}
    )
    said = ""
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                service = json.load(answer)["data"]
            scheme = "mqtts" if service["ssl"] else "mqtt"
            user = f"{quote(service['username'], safe='')}@" if service.get("username") else ""
            url = f"{scheme}://{user}{service['host']}:{service['port']}"
            return Broker(url, service.get("password", ""))
        except OSError as error:
            why = f"{error}: {error.read().decode()}" if isinstance(error, urllib.error.HTTPError) else error
            if said != str(why):
                said = str(why)
                print(f"waiting for a broker: start the Mosquitto app, or set `broker` ({said})", flush=True)
            time.sleep(5)


def command_line(options: Dict[str, Any], broker: str, config: Path, models: Path) -> List[str]:
    """The command and its flags."""
    name, cameras = options.get("name", NAME), config / "cameras.toml"
    if options.get("observer_only"):
        command, named = ["observe", "--observer-id", name], OBSERVERS
    else:
        command, named = ["worker", "--worker-id", name, "--metrics-port", "0"], WORKERS
        model = config / options["model"] if "model" in options else next(models.glob("*.onnx"))
        command += ["--model", str(model)]
    command += ["--broker", broker]
    if cameras.exists():
        command += ["--cameras", str(cameras)]
    for option in named:
        values = options.get(option, [])
        for value in values if isinstance(values, list) else [values]:
            command += [f"--{option.replace('_', '-')}", str(value)]
    return command


def become(user: int, state: Path) -> None:
    """Leave root's rights."""
    if os.getuid() != user:
        os.chown(state, user, user)
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)


if __name__ == "__main__":
    main()
