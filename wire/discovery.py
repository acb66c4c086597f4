"""Where Home Assistant is told of cameras and workers, and where it says that it is there.

homeassistant/device/nanofleet/camera-door/config    one device of the root nanofleet
homeassistant/status                                 Home Assistant's own birth and will
"""

from __future__ import annotations

import re
from typing import Any

from wire.topics import Topics

#: The prefix, unless Home Assistant is set to another.
DISCOVERY_PREFIX = "homeassistant"
#: Where Home Assistant says that it is there, whatever its prefix: then everything is announced again.
BIRTH_TOPIC = "homeassistant/status"
_NOT_IN_NODE = re.compile(rb"[^A-Za-z0-9-]")


def node(root: str) -> str:
    """A root as one level of a discovery topic, which takes letters, digits, `-` and `_` alone.

    No two roots share one: `_` is doubled, and any other byte is written as `_` with two digits.
    """

    def escape(match: Any) -> bytes:
        byte: bytes = match.group()
        return b"__" if byte == b"_" else b"_%02x" % byte[0]

    return _NOT_IN_NODE.sub(escape, root.encode()).decode()


def discovery_topic(prefix: str, topics: Topics, kind: str, name: str) -> str:
    """Where a camera or a worker is announced."""
    return f"{prefix}/device/{node(topics.root)}/{kind}-{name}/config"


def discovery_filter(prefix: str, topics: Topics) -> str:
    """The topic filter of all that is announced of one root, and of no other."""
    return f"{prefix}/device/{node(topics.root)}/+/config"
