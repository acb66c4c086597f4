"""What both kinds of device share: topics, ids, and the form of an announcement.

An id is the topic on which the device's state stands, so that several roots on one broker never collide:
    homeassistant/device/<root>/camera-door/config
        device       nanofleet/cameras/door
        unique_id    nanofleet/cameras/door/label
        entity id    sensor.nanofleet_door_label
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, Mapping

import wire
from wire.topics import Topics

#: Who announces: nothing that stands on a discovery topic is ours without it.
ORIGIN = "nanofleet"
#: What an entity is told beyond its ids, by the names that Home Assistant gives these.
Component = Dict[str, Any]

_NOT_IN_NODE = re.compile(rb"[^A-Za-z0-9-]")
_NOT_IN_ENTITY_ID = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Announcement:
    """One device, as it is announced on its discovery topic."""

    topic: str
    payload: Dict[str, Any]

    def encode(self) -> bytes:
        """The JSON payload, the same each time for the same device."""
        return json.dumps(self.payload, sort_keys=True, separators=(",", ":")).encode()


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
    """The topic filter of all that is announced of one root."""
    return f"{prefix}/device/{node(topics.root)}/+/config"


def announcement(
    topic: str,
    identifier: str,
    prefix_of_ids: str,
    device: Mapping[str, str],
    components: Mapping[str, Component],
) -> Announcement:
    """Give a device's entities their ids.

    Args:
        topic: the discovery topic.
        identifier: the topic of the device's state, which is also its id.
        prefix_of_ids: what its entity ids begin with.
        device: what is told of the device itself; what is empty is left out.
        components: its entities, by the last part of their ids.
    """
    told = {name: value for name, value in device.items() if value}
    return Announcement(
        topic,
        {
            "device": {"identifiers": [identifier], "manufacturer": ORIGIN, **told},
            "origin": {"name": ORIGIN, "sw_version": wire.__version__},
            "qos": 1,
            "components": {
                key: {**_ids(identifier, prefix_of_ids, key, str(component["platform"])), **component}
                for key, component in components.items()
            },
        },
    )


def _ids(identifier: str, prefix: str, key: str, platform: str) -> Component:
    name = _NOT_IN_ENTITY_ID.sub("_", f"{prefix}_{key}".lower()).strip("_")
    # Cores before 2025.10 know only the first, those from 2026.4 on only the second.
    ids = {"object_id": name, "default_entity_id": f"{platform}.{name}"}
    return {"unique_id": f"{identifier}/{key}", **ids}


def template(expression: str, **variables: str) -> str:
    """A template of a JSON payload's parts, which says nothing of any other payload.

    An empty one stands where a camera or worker has just been removed, and would be an error in the log.
    """
    given = "".join(f"{{% set {name} = {value} %}}" for name, value in variables.items())
    return f"{{% if value_json is mapping %}}{given}{{{{ {expression} }}}}{{% endif %}}"


def attributes(expression: str) -> str:
    """The same for attributes, which have to be a dictionary in any case."""
    return f"{{{{ ({expression} if value_json is mapping else {{}}) | tojson }}}}"


def literal(value: object) -> str:
    """Text, or a list of texts, as a template has it: whatever is in it, it is no template itself."""
    return json.dumps(value, ensure_ascii=False)
