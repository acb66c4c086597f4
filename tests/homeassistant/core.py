"""A real Home Assistant core without its interface: seeded, started, asked, restarted."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import aiohttp
import pytest

from fleet.ports import free_port
from tests.harness import wait_for

REPOSITORY = Path(__file__).parent.parent.parent
#: `make home-assistant` makes it.
ENVIRONMENT = Path(os.environ.get("HOME_ASSISTANT", REPOSITORY / ".venv-home-assistant"))

_CREATED = "2026-01-01T00:00:00.000000+00:00"
_SECONDS_VALID = 10 * 365 * 86400
#: The owner's long-lived access token, and the key that signs it.
_TOKEN_ID, _JWT_KEY = "1" * 32, "2" * 128
_CONFIGURATION = """\
homeassistant:
  name: Home
  latitude: 52
  longitude: 13
  elevation: 30
  unit_system: metric
  time_zone: UTC
  country: DE
http:
  server_host: 127.0.0.1
  server_port: {port}
api:
websocket_api:
config:
logger:
  default: info
"""


class HomeAssistant:
    """A core with an MQTT entry for one broker, and an owner. `more` is added to its configuration."""

    def __init__(
        self, folder: Path, broker_url: str, *, prefix: str = "homeassistant", more: str = ""
    ) -> None:
        self.program = need_home_assistant()
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        #: What it prints: its own log file begins anew at each start.
        self.log = folder / "printed.log"
        self.process: Optional[subprocess.Popen[bytes]] = None
        (folder / ".storage").mkdir(parents=True)
        (folder / "configuration.yaml").write_text(_CONFIGURATION.format(port=self.port) + more)
        host, _, port = broker_url[len("mqtt://") :].partition(":")
        self._seed("auth", 1, 1, _auth())
        self._seed("core.config_entries", 1, 5, {"entries": [_mqtt_entry(host, int(port), prefix)]})
        self._headers = {"Authorization": f"Bearer {_access_token()}", "Content-Type": "application/json"}

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
        """The warnings and errors in its log that concern MQTT, each with the lines that follow it."""
        records = re.split(r"\n(?=\d{4}-\d\d-\d\d )", self.said()[since:])
        return [
            record
            for record in records
            if re.match(r"\S+ \S+ (WARNING|ERROR|CRITICAL) ", record)
            and re.search(r"mqtt|template|nanofleet", record.lower())
        ]

    # --- what it tells -------------------------------------------------------------------------------

    def state(self, entity_id: str) -> Dict[str, Any]:
        """State and attributes of an entity; empty if there is none."""
        try:
            return dict(json.loads(self.get(f"/api/states/{entity_id}")))
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return {}

    def wait_state(self, entity_id: str, state: str, timeout: float = 30.0) -> Dict[str, Any]:
        """Wait until an entity has a state, and return it with its attributes."""
        wait_for(lambda: self.state(entity_id).get("state") == state, timeout, f"{entity_id} is {state!r}")
        return self.state(entity_id)

    def states(self, below: str) -> Dict[str, str]:
        """The states of the entities below a root."""
        ids = [entity["entity_id"] for entity in self.entities(below)]
        return {entity_id: self.state(entity_id)["state"] for entity_id in ids}

    def wait_known(self, below: str, number: int) -> Dict[str, str]:
        """Wait until there are so many entities below a root, each with a state, and return the states."""

        def known() -> bool:
            states = self.states(below).values()
            return len(states) == number and not {"unknown", "unavailable"} & set(states)

        wait_for(known, what=f"{number} known states: {self.states(below)}")
        return self.states(below)

    def get(self, path: str) -> bytes:
        """What REST answers."""
        return self._request(path)[0]

    def fetch(self, path: str) -> Tuple[bytes, str]:
        """A file, and its content type."""
        return self._request(path)

    def call(self, domain: str, service: str, **data: Any) -> None:
        """Perform an action."""
        self._request(f"/api/services/{domain}/{service}", json.dumps(data).encode())

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
            await ws.send_json({"type": "auth", "access_token": _access_token()})
            assert (await ws.receive_json())["type"] == "auth_ok"
            await ws.send_json({"id": 1, **command})
            answer = await ws.receive_json()
            assert answer["success"], answer
            return answer["result"]

    def _request(self, path: str, body: Optional[bytes] = None) -> Tuple[bytes, str]:
        request = urllib.request.Request(self.url + path, data=body, headers=self._headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read(), response.headers["Content-Type"]

    def _runs(self) -> bool:
        try:
            return bool(json.loads(self.get("/api/config"))["state"] == "RUNNING")
        except OSError:
            return False

    def _seed(self, key: str, version: int, minor_version: int, data: Any) -> None:
        content = {"version": version, "minor_version": minor_version, "key": key, "data": data}
        (self.folder / ".storage" / key).write_text(json.dumps(content))


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
    """Nothing of ours: with its bytecode kept it starts in a third of the time."""
    ours = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def _mqtt_entry(host: str, port: int, prefix: str) -> Dict[str, Any]:
    return {
        **{"entry_id": "3" * 26, "domain": "mqtt", "title": "broker", "source": "user", "unique_id": None},
        # 2025.4 speaks MQTT 3.1.1 unless told otherwise.
        "data": {"broker": host, "port": port, "protocol": "5"},
        "options": {"discovery": True, "discovery_prefix": prefix},
        **{"version": 1, "minor_version": 2, "created_at": _CREATED, "modified_at": _CREATED},
        **{"disabled_by": None, "discovery_keys": {}, "subentries": []},
        **{"pref_disable_new_entities": False, "pref_disable_polling": False},
    }


def _auth() -> Dict[str, Any]:
    owner = {
        **{"id": "4" * 32, "name": "Owner", "group_ids": ["system-admin"], "is_owner": True},
        **{"is_active": True, "system_generated": False, "local_only": False},
    }
    token = {
        **{"id": _TOKEN_ID, "user_id": owner["id"], "client_id": None, "client_name": "tests"},
        **{"client_icon": None, "token_type": "long_lived_access_token", "created_at": _CREATED},
        **{"access_token_expiration": float(_SECONDS_VALID), "token": "5" * 128, "jwt_key": _JWT_KEY},
        **{"last_used_at": None, "last_used_ip": None, "expire_at": None, "credential_id": None},
        "version": "2025.4.4",
    }
    groups = [{"id": f"system-{name}", "name": name} for name in ("admin", "users", "read-only")]
    return {"users": [owner], "groups": groups, "credentials": [], "refresh_tokens": [token]}


def _access_token() -> str:
    """A JSON web token, as Home Assistant gives it to its owner."""
    now = int(time.time())
    claims = {"iss": _TOKEN_ID, "iat": now - 60, "exp": now + _SECONDS_VALID}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_base64(hmac.new(_JWT_KEY.encode(), signed.encode(), hashlib.sha256).digest())}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
