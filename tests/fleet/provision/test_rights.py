"""Who may do what on a real Mosquitto with the files of `nanofleet provision`, and what is denied.

`witness` has all rights (by extra.acl): it sees what others get through, and sends what others may read.
Mosquitto grants a subscription to anything and then filters what it delivers, so what may be read is shown
by what arrives. The last message of a test is one that must arrive: what did not come before it never will.
"""

from __future__ import annotations

import socket
from typing import Set

import paho.mqtt.client as mqtt
import pytest

from tests.fleet.provision.rights import (
    ANNOUNCE,
    ANNOUNCED,
    ANSWERS,
    BIRTH,
    COMMANDS,
    EVENTS,
    FRAMES,
    READS,
    SETTINGS,
    SNAPSHOTS,
    STATES,
    TOPICS,
    WATCHED_READS,
    WATCHED_WRITES,
    WRITES,
    receives,
)
from tests.fleet.provisioned import REFUSED, Client, GuardedBroker
from tests.harness import wait_for


@pytest.mark.parametrize("name", WRITES)
def test_what_each_may_write(broker: GuardedBroker, name: str) -> None:
    check_writes(broker, name, WRITES[name])


@pytest.mark.parametrize("name", READS)
def test_what_each_may_read(broker: GuardedBroker, name: str) -> None:
    check_reads(broker, name, READS[name])


@pytest.mark.parametrize("name", WATCHED_WRITES)
def test_an_observer_writes_what_it_does_in_the_workers_place(watched: GuardedBroker, name: str) -> None:
    check_writes(watched, name, WATCHED_WRITES[name])


@pytest.mark.parametrize("name", WATCHED_READS)
def test_an_observer_reads_what_it_needs_in_the_workers_place(watched: GuardedBroker, name: str) -> None:
    check_reads(watched, name, WATCHED_READS[name])


def check_writes(broker: GuardedBroker, name: str, may: Set[str]) -> None:
    """Have a member write everywhere: the broker refuses what it may not, and nobody gets to see that."""
    with Client(broker, "witness") as witness, Client(broker, name) as client:
        assert client.connack == 0, client.fault
        witness.subscribe("#")
        codes = {topic: client.publish(topic) for topic in sorted(TOPICS)}
        receives(witness, witness, "else")
        assert {topic for topic, code in codes.items() if code == REFUSED} == TOPICS - may
        assert set(witness.topics) - {"else"} == may


def check_reads(broker: GuardedBroker, name: str, may: Set[str]) -> None:
    """Have a member subscribe to everything: it gets what it may read."""
    with Client(broker, "witness") as witness, Client(broker, name) as client:
        for each in (witness, client):
            each.subscribe(
                "#", "$SYS/#", *TOPICS, "nanofleet/+/+", "nanofleet/frames/+", "nanofleet/results/+"
            )
        for topic in sorted(TOPICS):
            witness.publish(topic, topic.encode())
        receives(client, witness, min(may))
        assert set(client.topics) == may
        assert set(witness.topics) >= TOPICS
        assert any(topic.startswith("$SYS/") for topic in witness.topics)


@pytest.mark.parametrize("name", ["door", "home", "ha"])
def test_what_is_retained_is_no_way_around(broker: GuardedBroker, witness: Client, name: str) -> None:
    kept = sorted(FRAMES | COMMANDS | ANSWERS | SETTINGS | STATES | SNAPSHOTS | ANNOUNCED)
    for topic in kept:
        witness.publish(topic, b"kept", retain=True)
    with Client(broker, name) as client:
        client.subscribe("#")
        receives(client, witness, min(READS[name]))
        assert set(client.topics) == READS[name] & set(kept)
    for topic in kept:
        witness.publish(topic, b"", retain=True)


@pytest.mark.parametrize("version", [mqtt.MQTTv5, mqtt.MQTTv311])
def test_a_stolen_camera_announces_and_renames_nothing(
    broker: GuardedBroker, witness: Client, version: int
) -> None:
    """Neither another nor itself, and whatever it retains, Home Assistant gets nothing of it."""
    hostile = sorted(ANNOUNCED | SETTINGS | STATES | SNAPSHOTS | EVENTS | ANNOUNCE | BIRTH)
    witness.subscribe("#")
    with Client(broker, "door", version=version) as thief, Client(broker, "ha") as home:
        home.subscribe("#")
        codes = {topic: thief.publish(topic, b"stolen", retain=True) for topic in hostile}
        assert version == mqtt.MQTTv311 or set(codes.values()) == {REFUSED}
        receives(home, witness, "nanofleet/cameras/door")
    with Client(broker, "ha") as home:
        home.subscribe("#")
        receives(home, witness, "nanofleet/cameras/door")
        assert b"stolen" not in {message.payload for message in [*home.messages, *witness.messages]}


def test_a_clients_will_is_written_with_its_own_rights(broker: GuardedBroker, witness: Client) -> None:
    """Otherwise a camera could say that a worker is lost, or announce itself, by vanishing."""
    witness.subscribe("#")
    for topic in (
        "nanofleet/workers/nano-1",
        "nanofleet/settings/cameras/door",
        min(ANNOUNCED),
        "nanofleet/frames/garden",
        "nanofleet/frames/door",
    ):
        with Client(broker, "door", will=topic) as client:
            sock = client.client.socket()
            assert sock is not None
            sock.shutdown(socket.SHUT_RDWR)
            wait_for(lambda client=client: client.fault, what="the end of the connection")
    wait_for(lambda: witness.topics, what="the one will that is allowed")
    assert witness.topics == ["nanofleet/frames/door"]


def test_a_camera_of_mqtt_3_1_1(broker: GuardedBroker, witness: Client) -> None:
    """It is not told what is denied, and is denied it all the same."""
    witness.subscribe("nanofleet/frames/+")
    with Client(broker, "door", version=mqtt.MQTTv311) as client:
        assert client.publish("nanofleet/frames/garden") == 0
        receives(witness, client, "nanofleet/frames/door")
        assert set(witness.topics) == {"nanofleet/frames/door"}
