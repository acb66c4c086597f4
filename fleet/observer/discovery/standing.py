"""What stands on a discovery topic, in short: enough to tell whether it is to be replaced, and by what.

Anybody may write there, so little is kept of each, whatever its length.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, Mapping, NamedTuple, Optional

from fleet.observer.discovery.device import ORIGIN

#: Bytes of an announcement, parts (lists, objects and commas) and entities, at most: beyond any of ours.
_MAX_BYTES, _MAX_PARTS, _MAX_ENTITIES = 1 << 17, 3000, 64
#: Characters of the key of an entity and of its platform, at most.
_MAX_KEY = 64


class Standing(NamedTuple):
    """One announcement.

    Attributes:
        digest: of its payload.
        platforms: its entities' platforms, by their keys.
    """

    digest: bytes
    platforms: Mapping[str, str]


def read(payload: bytes) -> Optional[Standing]:
    """An announcement of ours as it stands there; None if it is none: the topic may be anybody's."""
    if len(payload) > _MAX_BYTES or len(payload) - len(payload.translate(None, b"[{,")) > _MAX_PARTS:
        return None
    try:
        found = json.loads(payload)
        components = found["origin"]["name"] == ORIGIN and found["components"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return Standing(digest(payload), platforms(components)) if isinstance(components, dict) else None


def digest(payload: bytes) -> bytes:
    """What tells one payload from another."""
    return hashlib.blake2b(payload, digest_size=16).digest()


def platforms(components: Mapping[str, Any]) -> Dict[str, str]:
    """The platforms of entities, by their keys; what is none, and what is too long for one, is left out."""
    found: Dict[str, str] = {}
    for key, component in list(components.items())[:_MAX_ENTITIES]:
        platform = component.get("platform") if isinstance(component, dict) else None
        if isinstance(platform, str) and max(len(key), len(platform)) <= _MAX_KEY:
            found[key] = platform
    return found
