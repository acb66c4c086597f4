"""A camera as a device of Home Assistant, by its CameraState alone."""

from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Optional, Sequence

from fleet.observer.discovery.device import (
    Announcement,
    Component,
    announcement,
    attributes,
    literal,
    template,
)
from fleet.observer.vocabulary import ANYTHING, Vocabulary
from wire.cameras import NONE, CameraState
from wire.discovery import discovery_topic
from wire.topics import Topics

#: Candidates in the attributes, at most: no more than 16 KiB of attributes are kept in the history.
_MOST_SHOWN = 10
#: Workers publish snapshots as JPEG alone.
_CONTENT_TYPE = "image/jpeg"

_DETAILS = f"""{{
'top': value_json.top[:{_MOST_SHOWN}] | map(attribute='label') | list,
'confidences': value_json.top[:{_MOST_SHOWN}] | map(attribute='confidence') | list,
'since': value_json.stable_since,
'last_known': value_json.last_known, 'last_known_at': value_json.last_known_at,
'frame_id': value_json.frame_id, 'worker': value_json.worker, 'model': value_json.model}}"""

#: By the minute: each state is kept in Home Assistant's history, and stands in its logbook.
_LAST_SEEN = "value_json.last_seen[:16] ~ ':00Z' if value_json.last_seen else 'None'"
#: How sure the stable label is; where it is none, how sure the best guess was, if there was any.
_SURE = "value_json.confidence if value_json.stable_confidence is none else value_json.stable_confidence"
#: States that are Home Assistant's own, and one that it ignores.
_NO_WORDS = ("None", "unknown", "unavailable", "")
#: Characters of a state in Home Assistant, at most.
_LONGEST_STATE = 255
#: Seconds in which another observer publishes a camera's state, if the active one is gone; and until what a
#: camera sees expires, at most: a year.
_SUCCESSION, _LONGEST_EXPIRY = 120, 31_536_000


class Shown(NamedTuple):
    """What the two sensors show that may have a choice of states."""

    stable: str
    group: str


def shown(state: CameraState) -> Shown:
    """What they show by a state."""
    return Shown(state.stable, state.group)


def announce(
    state: CameraState,
    topics: Topics,
    prefix: str,
    vocabulary: Vocabulary = ANYTHING,
    before: Optional[Shown] = None,
    silent_after: float = 0.0,
) -> Announcement:
    """What is announced of a camera.

    Args:
        state: the one that is published next.
        topics: those of the root.
        prefix: Home Assistant's discovery prefix.
        vocabulary: what the sensors may show by the camera's settings.
        before: what they show until then; that would be an error in Home Assistant if it were no state that
            they may have.
        silent_after: seconds without an answer after which the camera is silent; 0: never.
    """
    topic, now = topics.camera(state.camera), shown(state)
    before = before or now
    device = {"name": state.name or state.camera, "model": "Camera", "suggested_area": state.area}
    seen = {
        "availability_topic": topic,
        "availability_template": template("'offline' if value_json.silent else 'online'"),
    }
    what_it_sees = {
        **_label(topic, _options(vocabulary.stable, before.stable, now.stable)),
        **_group(topic, _options(vocabulary.group, before.group, now.group)),
    }
    expires = _expiry(silent_after)
    return announcement(
        camera_topic(state.camera, topics, prefix),
        topic,
        f"{topics.root}_{state.camera}",
        device,
        {
            **{key: {**component, **seen, **expires} for key, component in what_it_sees.items()},
            "frame": {**_frame(state.camera, topics), **seen},
            "classified": _classified(state.camera, topics),
            **_how_it_is(topic),
        },
    )


def camera_topic(camera: str, topics: Topics, prefix: str) -> str:
    """Where a camera is announced."""
    return discovery_topic(prefix, topics, "camera", camera)


# --- what it sees: unavailable while the camera is silent ---------------------------------------------


def _expiry(silent_after: float) -> Component:
    """Sensors say nothing any more where no observer is left to say that the camera is silent."""
    if not silent_after:
        return {}
    return {"expire_after": math.ceil(min(silent_after + _SUCCESSION, _LONGEST_EXPIRY))}


def _frame(camera: str, topics: Topics) -> Component:
    return {
        "platform": "image",
        "name": "Frame",
        "image_topic": topics.snapshot(camera),
        "content_type": _CONTENT_TYPE,
    }


def _label(topic: str, options: Sequence[str]) -> Dict[str, Component]:
    return {
        "label": {
            **_word("stable", topic, options),
            "name": "Label",
            "icon": "mdi:label-outline",
            "json_attributes_topic": topic,
            "json_attributes_template": attributes(_DETAILS),
        },
        "confidence": {**_percent(_SURE, topic), "name": "Label confidence"},
    }


def _group(topic: str, options: Sequence[str]) -> Dict[str, Component]:
    return {
        "group": {
            **_word("group", topic, options),
            "name": "Group",
            "icon": "mdi:shape-outline",
            "json_attributes_topic": topic,
            "json_attributes_template": attributes("{'since': value_json.group_since}"),
        },
        "group_confidence": {**_percent("value_json.group_confidence", topic), "name": "Group confidence"},
    }


def _word(field: str, topic: str, options: Sequence[str]) -> Component:
    """A label as a state: of 255 characters at most, and none that means something else there.

    Where it is one of a choice, and comes before the announcement that has it, it is unknown for a moment.
    """
    sensor = {"platform": "sensor", "state_topic": topic}
    word = f"value_json.{field} | trim"
    state = f"'{NONE}' if word in {list(_NO_WORDS)} else word[:{_LONGEST_STATE}]"
    if not options:
        return {**sensor, "value_template": template(state, word=word)}
    known = template(f"state if state in {literal(options)} else 'None'", word=word, state=state)
    return {**sensor, "value_template": known, "device_class": "enum", "options": options}


def _options(words: Optional[Sequence[str]], *current: str) -> List[str]:
    """The choice of states: the words, and what is shown all the same; nothing, where it may be anything.

    A worker may go by a file of settings that the observer has not, and settings may just have changed.
    """
    if words is None:
        return []
    states = [_as_state(word) for word in (*words, *current)]
    return [*dict.fromkeys(state for state in states if state != NONE), NONE]


def _as_state(word: str) -> str:
    """As `_word` has it."""
    word = word.strip()
    return NONE if word in _NO_WORDS else word[:_LONGEST_STATE]


def _percent(confidence: str, topic: str) -> Component:
    return {
        "platform": "sensor",
        "icon": "mdi:gauge",
        "state_topic": topic,
        "value_template": template("'None' if sure is none else (sure * 100) | round(1)", sure=confidence),
        "unit_of_measurement": "%",
        "state_class": "measurement",
        "suggested_display_precision": 0,
    }


# --- what it saw, and how it is: also while it is silent ------------------------------------------------


def _classified(camera: str, topics: Topics) -> Component:
    """When it saw something new: were it unavailable by then, the event that ends a silence would be lost."""
    return {
        "platform": "event",
        "name": "Classified",
        "icon": "mdi:eye-outline",
        "state_topic": topics.camera_event(camera),
        "event_types": ["classified"],
    }


def _how_it_is(topic: str) -> Dict[str, Component]:
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
                "{'silent': value_json.silent, 'rejected_last': value_json.rejected_last, "
                "'last_rejection': value_json.last_rejection, 'rejections': value_json.rejections, "
                "'frames': value_json.frames}"
            ),
        },
    }
