"""What a core finds at its first start: an owner with a token, an MQTT entry, a configuration."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any, Dict

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
automation: !include automations.yaml
logger:
  default: info
"""


def seed(folder: Path, port: int, broker_url: str) -> None:
    """Write it into the folder of the core, which is to listen on a port."""
    (folder / ".storage").mkdir(parents=True)
    (folder / "configuration.yaml").write_text(_CONFIGURATION.format(port=port))
    (folder / "automations.yaml").write_text("[]\n")
    host, _, broker_port = broker_url[len("mqtt://") :].partition(":")
    _store(folder, "auth", 1, _auth())
    _store(folder, "core.config_entries", 5, {"entries": [_mqtt_entry(host, int(broker_port))]})


def _store(folder: Path, key: str, minor_version: int, data: Any) -> None:
    content = {"version": 1, "minor_version": minor_version, "key": key, "data": data}
    (folder / ".storage" / key).write_text(json.dumps(content))


def _mqtt_entry(host: str, port: int) -> Dict[str, Any]:
    return {
        **{"entry_id": "3" * 26, "domain": "mqtt", "title": "broker", "source": "user", "unique_id": None},
        # 2025.4 speaks MQTT 3.1.1 unless told otherwise.
        "data": {"broker": host, "port": port, "protocol": "5"},
        "options": {"discovery": True},
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


def access_token() -> str:
    """A JSON web token, as Home Assistant gives it to its owner."""
    now = int(time.time())
    claims = {"iss": _TOKEN_ID, "iat": now - 60, "exp": now + _SECONDS_VALID}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_base64(hmac.new(_JWT_KEY.encode(), signed.encode(), hashlib.sha256).digest())}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
