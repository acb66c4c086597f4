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

#: Who announces: nothing that stands on a discovery topic is ours without it.
ORIGIN = "nanofleet"
#: What an entity is told beyond its ids, by the names that Home Assistant gives these.
Component = Dict[str, Any]

_NOT_IN_ENTITY_ID = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Announcement:
    """One device, as it is announced on its discovery topic."""

    topic: str
    payload: Dict[str, Any]

    def encode(self) -> bytes:
        """The JSON payload, the same each time for the same device."""
        return json.dumps(self.payload, sort_keys=True, separators=(",", ":")).encode()


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


def template(expression: str, *, otherwise: str = "", **variables: str) -> str:
    """A template of a JSON payload's parts.

    Args:
        expression: what it yields of a payload that is a JSON object.
        otherwise: what it yields of another: an empty payload, where a camera or worker has just been
            removed, would be an error in Home Assistant's log. There the text None is an unknown state; an
            empty one is ignored, but for a timestamp, of which it is an invalid one.
        variables: expressions that the first one uses, by name.
    """
    given = "".join(f"{{% set {name} = {value} %}}" for name, value in variables.items())
    return (
        f"{{% if value_json is mapping %}}{given}{{{{ {expression} }}}}{{% else %}}{otherwise}{{% endif %}}"
    )


def attributes(expression: str) -> str:
    """The same for attributes, which have to be a dictionary in any case."""
    return f"{{{{ ({expression} if value_json is mapping else {{}}) | tojson }}}}"


def literal(value: object) -> str:
    """Text, or a list of texts, as a template has it: whatever is in it, it is no template itself."""
    return json.dumps(value, ensure_ascii=False)
