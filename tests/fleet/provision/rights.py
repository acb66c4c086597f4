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
        *("replies/door/1", "replies/garden/1", "workers/nano-1", "workers/nano-2"),
        *("workers/nano-2/adoption/nano-1", "workers/nano-1/adoption/nano-2"),
        *("beacons/nano-1", "beacons/nano-2"),
        *("control/model", "control/nano-1/model", "control/nano-2/model"),
        *("frames", "frames/door/deep", "results", "else"),
    )
} | {"else", "other/frames/door", "homeassistant/device/door/config"}

MEMBERS = (
    *("--camera", "door,garden", "--worker", "nano-1,nano-2"),
    *("--listener", "home", "--operator", "admin,witness"),
)


def below(*topics: str) -> Set[str]:
    return {f"nanofleet/{topic}" for topic in topics}


ANSWERS = below("results/door", "results/garden", "rejects/door", "rejects/garden")

FRAMES = below("frames/door", "frames/garden")

REPLIES = below("replies/door/1", "replies/garden/1")

STATUSES = below("workers/nano-1", "workers/nano-2")

BEACONS = below("beacons/nano-1", "beacons/nano-2")

CLAIMS = below("workers/nano-2/adoption/nano-1", "workers/nano-1/adoption/nano-2")

COMMANDS = below("control/model", "control/nano-1/model", "control/nano-2/model")

WRITES = {
    "door": below("frames/door"),
    "nano-1": ANSWERS | REPLIES | below("workers/nano-1", "workers/nano-2/adoption/nano-1", "beacons/nano-1"),
    "home": set(),
    "admin": FRAMES | COMMANDS | STATUSES | CLAIMS | BEACONS,
}

READS = {
    "door": below("results/door", "rejects/door", "replies/door/1"),
    "nano-1": FRAMES | STATUSES | CLAIMS | BEACONS | below("control/model", "control/nano-1/model"),
    "home": ANSWERS | STATUSES | CLAIMS,
    "admin": ANSWERS | STATUSES | CLAIMS | REPLIES | COMMANDS,
}


def receives(listener: Client, sender: Client, topic: str) -> None:
    """Wait until a last message on a topic has come from one who may write it to one who may read it."""
    last = f"the last {time.monotonic()}".encode()
    sender.publish(topic, last)
    wait_for(
        lambda: last in [message.payload for message in list(listener.messages)], what="the last message"
    )
