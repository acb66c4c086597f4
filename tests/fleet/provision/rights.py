"""The rights of each member on a broker of `nanofleet provision`, as they should be."""

from __future__ import annotations

import time
from typing import Set

import pytest

from tests.fleet.provisioned import Client
from tests.harness import wait_for

#: paho drops the socket of a handshake that failed, and leaves it to the garbage collector to close it.
PAHO_DROPS_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

TOPICS = {
    f"nanofleet/{topic}"
    for topic in (
        *("frames/door", "frames/garden", "results/door", "results/garden", "rejects/door", "rejects/garden"),
        *("replies/door/1", "replies/garden/1", "workers/nano-1", "workers/nano-2", "workers/watch"),
        *("workers/nano-2/adoption/nano-1", "workers/nano-1/adoption/nano-2"),
        *("beacons/nano-1", "beacons/nano-2"),
        *("control/model", "control/nano-1/model", "control/nano-2/model"),
        *("control/announce", "control/action", "control/nano-1/action", "control/nano-2/action"),
        *("settings/cameras/door", "settings/cameras/garden", "settings/door", "settings/workers/nano-1"),
        *("cameras/door", "cameras/garden", "cameras/door/deep", "events/door", "events/garden"),
        *("snapshots/door", "snapshots/garden", "snapshots/door/deep"),
        *("observers/door", "observers/nano-1", "observers/nano-2", "observers/watch"),
        *("frames", "frames/door/deep", "results", "else"),
    )
} | {
    *("else", "other/frames/door", "other/cameras/door", "other/settings/cameras/door"),
    "homeassistant/status",
    "homeassistant/status/deep",
    "homeassistant/device/door/config",
    "homeassistant/device/nanofleet/config",
    "homeassistant/device/nanofleet/camera-door/config",
    "homeassistant/device/nanofleet/worker-nano-1/config",
    "homeassistant/device/nanofleet/camera-door/state",
    "homeassistant/device/nanofleet/camera-door/deep/config",
    "homeassistant/device/other/camera-door/config",
    "homeassistant/sensor/nanofleet/camera-door/config",
    "other/device/nanofleet/camera-door/config",
    "other/status",
}

MEMBERS = (
    *("--camera", "door,garden", "--worker", "nano-1,nano-2"),
    *("--listener", "home", "--operator", "admin,witness", "--homeassistant", "ha"),
)


def below(*topics: str) -> Set[str]:
    return {f"nanofleet/{topic}" for topic in topics}


ANSWERS = below("results/door", "results/garden", "rejects/door", "rejects/garden")

FRAMES = below("frames/door", "frames/garden")

REPLIES = below("replies/door/1", "replies/garden/1")

STATUSES = below("workers/nano-1", "workers/nano-2", "workers/watch")

BEACONS = below("beacons/nano-1", "beacons/nano-2")

CLAIMS = below("workers/nano-2/adoption/nano-1", "workers/nano-1/adoption/nano-2")

COMMANDS = below("control/model", "control/nano-1/model", "control/nano-2/model")

ACTIONS = below("control/nano-1/action", "control/nano-2/action")

ANNOUNCE = below("control/announce")

SETTINGS = below("settings/cameras/door", "settings/cameras/garden")

STATES = below("cameras/door", "cameras/garden")

EVENTS = below("events/door", "events/garden")

SNAPSHOTS = below("snapshots/door", "snapshots/garden")

OBSERVERS = below("observers/door", "observers/nano-1", "observers/nano-2", "observers/watch")

BIRTH = {"homeassistant/status"}

ANNOUNCED = {
    "homeassistant/device/nanofleet/camera-door/config",
    "homeassistant/device/nanofleet/worker-nano-1/config",
}

#: What a worker reads and writes without an observer in it.
_SERVES_READS = FRAMES | STATUSES | CLAIMS | BEACONS | SETTINGS
_SERVES_READS |= below("control/model", "control/nano-1/model", "control/nano-1/action")
_SERVES_WRITES = ANSWERS | REPLIES | SNAPSHOTS
_SERVES_WRITES |= below("workers/nano-1", "workers/nano-2/adoption/nano-1", "beacons/nano-1")

#: What an observer does, but for the topic of its own status.
_OBSERVES_READS = ANSWERS | STATUSES | SETTINGS | STATES | OBSERVERS | ANNOUNCE | BIRTH | ANNOUNCED
_OBSERVES_WRITES = STATES | EVENTS | ANNOUNCED

WRITES = {
    "door": below("frames/door"),
    "nano-1": _SERVES_WRITES | _OBSERVES_WRITES | below("observers/nano-1"),
    "home": set(),
    "ha": ANNOUNCE | COMMANDS | ACTIONS | BIRTH,
    "admin": FRAMES
    | COMMANDS
    | ACTIONS
    | ANNOUNCE
    | STATUSES
    | CLAIMS
    | BEACONS
    # To remove what is retained of members and cameras that are gone.
    | SETTINGS
    | STATES
    | SNAPSHOTS
    | OBSERVERS
    | ANNOUNCED,
}

READS = {
    "door": below("results/door", "rejects/door", "replies/door/1"),
    "nano-1": _SERVES_READS | _OBSERVES_READS,
    "home": ANSWERS | STATUSES | CLAIMS | STATES | EVENTS | SNAPSHOTS,
    "ha": STATUSES | STATES | EVENTS | SNAPSHOTS | ANNOUNCED,
    "admin": ANSWERS
    | STATUSES
    | CLAIMS
    | REPLIES
    | COMMANDS
    | SETTINGS
    | STATES
    | EVENTS
    | SNAPSHOTS
    | OBSERVERS
    | ANNOUNCED,
}

#: In a fleet with `--observer watch`.
WATCHED_WRITES = {"watch": _OBSERVES_WRITES | below("observers/watch"), "nano-1": _SERVES_WRITES}

WATCHED_READS = {"watch": _OBSERVES_READS, "nano-1": _SERVES_READS}


def receives(listener: Client, sender: Client, topic: str) -> None:
    """Wait until a last message on a topic has come from one who may write it to one who may read it."""
    last = f"the last {time.monotonic()}".encode()
    sender.publish(topic, last)
    wait_for(
        lambda: last in [message.payload for message in list(listener.messages)], what="the last message"
    )
