"""A worker as a device of Home Assistant, by its WorkerStatus alone."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import Collection, Dict, List

from fleet.observer.discovery.device import (
    Announcement,
    Component,
    announcement,
    attributes,
    literal,
    template,
)
from wire.discovery import discovery_topic
from wire.messages import WorkerAction, WorkerStatus
from wire.model_choice import is_published
from wire.topics import Topics

#: The models to choose from, beside the one that a worker is set to run.
MODELS = ("alexnet", "densenet121", "googlenet", "inception_v3", "mobilenet_v2", "resnet18", "vgg16")
#: Characters of a state in Home Assistant, at most.
_LONGEST_STATE = 255
_ALIASES = {"densenet": "densenet121", "inception": "inception_v3", "mobilenet": "mobilenet_v2"}

_RUNS = "value_json.state in ['online', 'draining']"
#: As `_shown` has it.
_SERVED = r"""(value_json.model if value_json.weights is match('(?i)(default|imagenet\\w*)?$')
else value_json.weights if value_json.weights is search('(?i)[.]onnx$')
else value_json.model ~ '@' ~ value_json.weights)"""


def announce(status: WorkerStatus, topics: Topics, prefix: str, known: Collection[str] = ()) -> Announcement:
    """What is announced of a worker.

    Args:
        status: its latest.
        topics: those of the root.
        prefix: Home Assistant's discovery prefix.
        known: the keys of the entities that it has by now. A sensor that yields nothing for a while keeps its
            entity: with that Home Assistant would remove the name that its user has given it.
    """
    topic = topics.worker(status.worker)
    device = {
        "name": status.worker,
        "model": f"{status.engine} on {status.device}",
        "sw_version": status.version,
    }
    runs = {
        "availability_topic": topic,
        "availability_template": template(f"'online' if {_RUNS} else 'offline'"),
    }
    components = {
        "connectivity": _connectivity(status, topic),
        **{key: {**component, **runs} for key, component in _measured(status, topic, known).items()},
        **{key: {**component, **runs} for key, component in _commands(status, topics).items()},
    }
    return announcement(
        worker_topic(status.worker, topics, prefix),
        topic,
        f"{topics.root}_{status.worker}",
        device,
        components,
    )


def worker_topic(worker: str, topics: Topics, prefix: str) -> str:
    """Where a worker is announced."""
    return discovery_topic(prefix, topics, "worker", worker)


def _connectivity(status: WorkerStatus, topic: str) -> Component:
    """Whether it runs: not by its status, nor once its lease has run out without another."""
    return {
        "platform": "binary_sensor",
        "name": "Connectivity",
        "state_topic": topic,
        "value_template": template(f"'ON' if {_RUNS} else 'OFF'"),
        "off_delay": _lease(status),
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "json_attributes_topic": topic,
        "json_attributes_template": attributes(
            "{'state': value_json.state, 'started_at': value_json.started_at}"
        ),
    }


def _measured(status: WorkerStatus, topic: str, known: Collection[str]) -> Dict[str, Component]:
    """What it measures; it is not known any more once the worker's lease has run out."""
    sensor = {"platform": "sensor", "state_topic": topic, "entity_category": "diagnostic"}
    measured = {**sensor, "state_class": "measurement", "expire_after": _lease(status)}
    found: Dict[str, Component] = {
        "frames_per_second": {
            **measured,
            "name": "Frames per second",
            "icon": "mdi:speedometer",
            "value_template": template("value_json.frames_per_second"),
            "unit_of_measurement": "fps",
            "suggested_display_precision": 1,
        },
        "queue": {
            **measured,
            "name": "Queue",
            "icon": "mdi:tray-full",
            "value_template": template("value_json.in_hand"),
            "unit_of_measurement": "frames",
        },
        "version": {
            **sensor,
            "name": "Version",
            "icon": "mdi:tag-outline",
            "value_template": template("value_json.version"),
        },
    }
    return {**found, **_measured_by_some(status, measured, known)}


def _measured_by_some(
    status: WorkerStatus, measured: Component, known: Collection[str]
) -> Dict[str, Component]:
    """What not every release or machine tells."""
    found: Dict[str, Component] = {}
    if "latency_seconds" in status.model_fields_set:  # else a release that does not tell it
        found["latency"] = {
            **measured,
            "name": "Latency",
            "value_template": template(
                "(value_json.latency_seconds * 1000) | round(1) if value_json.latency_seconds else 'None'"
            ),
            "device_class": "duration",
            "unit_of_measurement": "ms",
            "suggested_display_precision": 0,
        }
    if status.temperature_celsius is not None or "temperature" in known:
        found["temperature"] = {
            **measured,
            "name": "Temperature",
            "value_template": template(
                "'None' if value_json.temperature_celsius is none else value_json.temperature_celsius"
            ),
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "suggested_display_precision": 1,
        }
    return found


def _lease(status: WorkerStatus) -> int:
    """Seconds for which a status holds, at most a day: whole ones, and not more than Home Assistant takes."""
    return min(math.ceil(status.lease_seconds), 86400)


def _commands(status: WorkerStatus, topics: Topics) -> Dict[str, Component]:
    """What it follows: nothing, where it runs with --ignore-control."""
    if not status.accepts_control:
        return {}
    button = {
        "platform": "button",
        "command_topic": topics.worker_action(status.worker),
        "entity_category": "config",
        "qos": 1,
    }
    return {
        "model": _model(status, topics),
        "restart": {
            **button,
            "name": "Restart",
            "device_class": "restart",
            "payload_press": WorkerAction(action="restart").encode().decode(),
        },
        "drain": {
            **button,
            "name": "Drain",
            "icon": "mdi:exit-run",
            "payload_press": WorkerAction(action="drain").encode().decode(),
        },
    }


# --- the model -----------------------------------------------------------------------------------------


def _model(status: WorkerStatus, topics: Topics) -> Component:
    """A choice of models: of published ones by a ModelCommand, of the worker's own by taking that back.

    Its own may have labels and preprocessing that only its settings name. But where the fleet's command is in
    force, nothing is there to be taken back: one that has a name is commanded by that.
    """
    options = _options(status)
    own = _own(status)
    command = '{"id": "home-assistant", "choice": {"model": {{ value | tojson }}}}'
    of_the_fleet = status.change is not None and status.change.topic == topics.model_command()
    if not of_the_fleet or "@" in own or own.lower().endswith(".onnx"):
        command = f"{{% if value != {literal(own)} %}}{command}{{% endif %}}"
    topic = topics.worker(status.worker)
    return {
        "platform": "select",
        "name": "Model",
        "icon": "mdi:brain",
        "state_topic": topic,
        # A status may come before the announcement that knows its model: such a state would be an error.
        "value_template": template(f"model if model in {literal(options)} else 'None'", model=_SERVED),
        "options": options,
        "command_topic": topics.model_command(status.worker),
        "command_template": command,
        "retain": True,
        "entity_category": "config",
        "json_attributes_topic": topic,
        "json_attributes_template": attributes(
            "{'change': value_json.change.state if value_json.change else none,"
            " 'detail': value_json.change.detail if value_json.change else ''}"
        ),
    }


def _options(status: WorkerStatus) -> List[str]:
    options = {*MODELS, _own(status), _shown(status.model, status.weights)}
    return sorted(option for option in options if len(option) <= _LONGEST_STATE)


def _own(status: WorkerStatus) -> str:
    """The model of the worker's own settings."""
    if status.change is None:
        return _shown(status.model, status.weights)
    instead_of = status.change.instead_of
    if instead_of.lower().endswith(".onnx"):
        return PurePosixPath(instead_of).name
    name, _, weights = instead_of.partition("@")
    return _shown(_ALIASES.get(name.lower(), name.lower()), PurePosixPath(weights).name)


def _shown(model: str, weights: str) -> str:
    if is_published(weights):
        return model
    return weights if weights.lower().endswith(".onnx") else f"{model}@{weights}"
