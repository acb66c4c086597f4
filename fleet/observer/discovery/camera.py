"""A camera as a device of Home Assistant, by its CameraState alone."""

from __future__ import annotations

from typing import Dict

from fleet.observer.discovery.device import (
    Announcement,
    Component,
    announcement,
    attributes,
    template,
)
from wire.cameras import CameraState
from wire.discovery import discovery_topic
from wire.topics import Topics

#: Candidates in the attributes, at most: no more than 16 KiB of attributes are kept in the history.
_MOST_SHOWN = 10
#: Snapshots are as their cameras sent them. Browsers look at the bytes of a picture, and not at this.
_CONTENT_TYPE = "image/jpeg"

_DETAILS = f"""{{
'top': value_json.top[:{_MOST_SHOWN}] | map(attribute='label') | list,
'confidences': value_json.top[:{_MOST_SHOWN}] | map(attribute='confidence') | list,
'last_label': value_json.label, 'since': value_json.stable_since,
'last_known': value_json.last_known, 'last_known_at': value_json.last_known_at,
'frame_id': value_json.frame_id, 'worker': value_json.worker, 'model': value_json.model}}"""

#: By the minute: each state is kept in Home Assistant's history, and stands in its logbook.
_LAST_SEEN = "value_json.last_seen[:16] ~ ':00Z' if value_json.last_seen else 'None'"
#: How sure the stable label is; where it is none, how sure the best guess was, if there was any.
_SURE = "value_json.confidence if value_json.stable_confidence is none else value_json.stable_confidence"
_CONFIDENCE = "'None' if sure is none else (sure * 100) | round(1)"
#: States that are Home Assistant's own, and one that it ignores.
_NO_WORDS = "['None', 'unknown', 'unavailable', '']"


def announce(state: CameraState, topics: Topics, prefix: str) -> Announcement:
    """What is announced of a camera."""
    topic = topics.camera(state.camera)
    device = {"name": state.name or state.camera, "model": "Camera", "suggested_area": state.area}
    seen = {
        "availability_topic": topic,
        "availability_template": template("'offline' if value_json.silent else 'online'"),
    }
    return announcement(
        camera_topic(state.camera, topics, prefix),
        topic,
        f"{topics.root}_{state.camera}",
        device,
        {
            **{key: {**component, **seen} for key, component in _what_it_sees(state.camera, topics).items()},
            **_how_it_is(topic),
        },
    )


def camera_topic(camera: str, topics: Topics, prefix: str) -> str:
    """Where a camera is announced."""
    return discovery_topic(prefix, topics, "camera", camera)


def _what_it_sees(camera: str, topics: Topics) -> Dict[str, Component]:
    """The entities that are unavailable while the camera is silent."""
    return {
        **_words(topics.camera(camera)),
        "frame": {
            "platform": "image",
            "name": "Frame",
            "image_topic": topics.snapshot(camera),
            "content_type": _CONTENT_TYPE,
        },
        "classified": {
            "platform": "event",
            "name": "Classified",
            "icon": "mdi:eye-outline",
            "state_topic": topics.camera_event(camera),
            "event_types": ["classified"],
        },
    }


def _words(topic: str) -> Dict[str, Component]:
    """What the frames have said."""
    return {
        "label": {
            "platform": "sensor",
            "name": "Label",
            "icon": "mdi:label-outline",
            "state_topic": topic,
            "value_template": _word("stable"),
            "json_attributes_topic": topic,
            "json_attributes_template": attributes(_DETAILS),
        },
        "group": {
            "platform": "sensor",
            "name": "Group",
            "icon": "mdi:shape-outline",
            "state_topic": topic,
            "value_template": _word("group"),
            "json_attributes_topic": topic,
            "json_attributes_template": attributes(
                "{'confidence': value_json.group_confidence, 'since': value_json.group_since}"
            ),
        },
        "confidence": {
            "platform": "sensor",
            "name": "Confidence",
            "icon": "mdi:gauge",
            "state_topic": topic,
            "value_template": template(_CONFIDENCE, sure=_SURE),
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "suggested_display_precision": 0,
        },
    }


def _word(field: str) -> str:
    """A label as a state: of 255 characters at most, and none that means something else there."""
    return template(f"'none' if word in {_NO_WORDS} else word[:255]", word=f"value_json.{field} | trim")


def _how_it_is(topic: str) -> Dict[str, Component]:
    """The entities that tell of a silent camera, too."""
    return {
        "last_seen": {
            "platform": "sensor",
            "name": "Last seen",
            "state_topic": topic,
            "value_template": template(_LAST_SEEN, otherwise="None"),
            "device_class": "timestamp",
            "entity_category": "diagnostic",
        },
        "problem": {
            "platform": "binary_sensor",
            "name": "Problem",
            "state_topic": topic,
            "value_template": template("'ON' if value_json.silent or value_json.rejected_last else 'OFF'"),
            "device_class": "problem",
            "entity_category": "diagnostic",
            "json_attributes_topic": topic,
            "json_attributes_template": attributes(
                "{'silent': value_json.silent, 'rejections': value_json.rejections, "
                "'last_rejection': value_json.last_rejection, 'frames': value_json.frames}"
            ),
        },
    }
