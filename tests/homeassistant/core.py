"""A real Home Assistant core without its interface: seeded, started, asked, restarted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import aiohttp
import pytest

from tests.harness import wait_for
from tests.homeassistant.seed import access_token, seed
from tests.ports import free_port

REPOSITORY = Path(__file__).parent.parent.parent
#: `make home-assistant` makes it.
ENVIRONMENT = Path(os.environ.get("HOME_ASSISTANT", REPOSITORY / ".venv-home-assistant"))

#: What it complains of at each start, because it is no installation for a home.
_OF_THE_MACHINE = (
    "Skipping pip installation",
    "zlib_ng and isal are not available",
    "libturbojpeg",
    "is logging too frequently",  # many tests' entities, one after the other
)


class HomeAssistant:
    """A core with an MQTT entry for one broker, and an owner."""

    def __init__(self, folder: Path, broker_url: str) -> None:
        self.program = need_home_assistant()
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        #: What it prints: its own log file begins anew at each start.
        self.log = folder / "printed.log"
        self.process: Optional[subprocess.Popen[bytes]] = None
        seed(folder, self.port, broker_url)
        self._headers = {"Authorization": f"Bearer {access_token()}", "Content-Type": "application/json"}

    def start(self) -> HomeAssistant:
        """Start it, and wait until it and its MQTT are up."""
        heard = len(self.said())
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.program), "-c", str(self.folder), "--skip-pip", "--log-no-color"],
                stdout=log,
                stderr=log,
                env=_environment(),
            )

        def up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"Home Assistant has ended:\n{self.said()}"
            assert "recovery" not in self.said()[heard:].lower(), self.said()
            return "birth message sent" in self.said()[heard:] and self._runs()

        wait_for(up, 180, "Home Assistant is up")
        return self

    def stop(self) -> None:
        """Stop it as a user does, so that it writes down what it knows."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def complaints(self, since: int = 0) -> List[str]:
        """The warnings and errors in its log, each with the lines that follow it, but for the machine's."""
        records = re.split(r"\n(?=\d{4}-\d\d-\d\d )", self.said()[since:])
        severe = [record for record in records if re.match(r"\S+ \S+ (WARNING|ERROR|CRITICAL) ", record)]
        return [record for record in severe if not any(each in record for each in _OF_THE_MACHINE)]

    # --- what it tells -------------------------------------------------------------------------------

    def state(self, entity_id: str) -> Dict[str, Any]:
        """State and attributes of an entity; empty if there is none."""
        try:
            return dict(self._get(f"/api/states/{entity_id}"))
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return {}

    def wait_state(self, entity_id: str, state: str, timeout: float = 30.0) -> Dict[str, Any]:
        """Wait until an entity has a state, and return it with its attributes."""
        wait_for(lambda: self.state(entity_id).get("state") == state, timeout, f"{entity_id} is {state!r}")
        return self.state(entity_id)

    def states(self, below: str) -> Dict[str, str]:
        """The states of the entities below a root, but for buttons, which have none."""
        ids = [entity["entity_id"] for entity in self.entities(below)]
        ids = [entity_id for entity_id in ids if not entity_id.startswith("button.")]
        return {entity_id: self.state(entity_id).get("state", "unknown") for entity_id in ids}

    def wait_known(self, below: str, number: int) -> Dict[str, str]:
        """Wait until there are so many entities below a root, each with a state, and return the states."""

        def known() -> bool:
            states = self.states(below).values()
            return len(states) == number and not {"unknown", "unavailable"} & set(states)

        wait_for(known, what=f"{number} known states: {self.states(below)}")
        return self.states(below)

    def fetch(self, path: str) -> Tuple[bytes, str]:
        """A file, and its content type."""
        return self._request(path)

    def call(self, domain: str, service: str, **data: Any) -> None:
        """Perform an action."""
        self._request(f"/api/services/{domain}/{service}", json.dumps(data).encode())

    @contextlib.contextmanager
    def automation(self, name: str, **automation: Any) -> Iterator[None]:
        """Have an automation, as its editor makes it, while the block lasts."""
        path = f"/api/config/automation/config/{name}"

        def on() -> bool:
            states = self._get("/api/states")
            return name in [one["attributes"].get("id") for one in states if one["state"] == "on"]

        self._request(path, json.dumps(automation).encode())
        wait_for(on, what=f"automation {name} is on")
        try:
            yield
        finally:
            self._request(path, method="DELETE")
            wait_for(lambda: not on(), what=f"automation {name} is gone")

    def devices(self) -> List[Dict[str, Any]]:
        """The devices that its MQTT integration knows."""
        found = self.ask({"type": "config/device_registry/list"})
        return [device for device in found if any(domain == "mqtt" for domain, _ in device["identifiers"])]

    def entities(self, below: str = "") -> List[Dict[str, Any]]:
        """The entities that its MQTT integration knows, below a root."""
        found = self.ask({"type": "config/entity_registry/list"})
        ours = [entity for entity in found if entity["platform"] == "mqtt"]
        return [entity for entity in ours if entity["unique_id"].startswith(below)]

    def ask(self, command: Dict[str, Any]) -> Any:
        """The result of one command of the WebSocket interface."""
        return asyncio.run(self._ask(command))

    async def _ask(self, command: Dict[str, Any]) -> Any:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{self.url}/api/websocket") as ws:
            await ws.receive_json()
            await ws.send_json({"type": "auth", "access_token": access_token()})
            assert (await ws.receive_json())["type"] == "auth_ok"
            await ws.send_json({"id": 1, **command})
            answer = await ws.receive_json()
            assert answer["success"], answer
            return answer["result"]

    def _get(self, path: str) -> Any:
        return json.loads(self._request(path)[0])

    def _request(
        self, path: str, body: Optional[bytes] = None, method: Optional[str] = None
    ) -> Tuple[bytes, str]:
        request = urllib.request.Request(self.url + path, data=body, headers=self._headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read(), response.headers["Content-Type"]

    def _runs(self) -> bool:
        try:
            return bool(self._get("/api/config")["state"] == "RUNNING")
        except OSError:
            return False


def need_home_assistant() -> Path:
    """Its program; without it, skip at home and fail in CI."""
    program = ENVIRONMENT / "bin" / "hass"
    if not program.exists():
        message = f"{program} is not there: `make home-assistant` (Python 3.13)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return program


def _environment() -> Dict[str, str]:
    """Nothing of ours: it starts faster with its bytecode kept."""
    ours = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    return {name: value for name, value in os.environ.items() if name not in ours}
