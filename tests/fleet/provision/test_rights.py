"""Who may do what on a real Mosquitto with the files of `nanofleet provision`, and what is denied.

`witness` has all rights (by extra.acl): it sees what others get through, and sends what others may read.
Mosquitto grants a subscription to anything and then filters what it delivers, so what may be read is shown
by what arrives. The last message of a test is one that must arrive: what did not come before it never will.
"""

from __future__ import annotations

import socket

import paho.mqtt.client as mqtt
import pytest

from tests.fleet.provision.rights import ANSWERS, COMMANDS, FRAMES, READS, TOPICS, WRITES, receives
from tests.fleet.provisioned import REFUSED, Client, GuardedBroker
from tests.harness import wait_for


@pytest.mark.parametrize("name", WRITES)
def test_what_each_may_write(broker: GuardedBroker, witness: Client, name: str) -> None:
    witness.subscribe("#")
    with Client(broker, name) as client:
        assert client.connack == 0, client.fault
        codes = {topic: client.publish(topic) for topic in sorted(TOPICS)}
    receives(witness, witness, "else")
    assert {topic for topic, code in codes.items() if code == REFUSED} == TOPICS - WRITES[name]
    assert set(witness.topics) - {"else"} == WRITES[name]


@pytest.mark.parametrize("name", READS)
def test_what_each_may_read(broker: GuardedBroker, witness: Client, name: str) -> None:
    with Client(broker, name) as client, Client(broker, "witness") as seer:
        for each in (client, seer):
            each.subscribe(
                "#", "$SYS/#", *TOPICS, "nanofleet/+/+", "nanofleet/frames/+", "nanofleet/results/+"
            )
        for topic in sorted(TOPICS):
            witness.publish(topic, topic.encode())
        receives(client, witness, min(READS[name]))
        assert set(client.topics) == READS[name]
        assert set(seer.topics) >= TOPICS
        assert any(topic.startswith("$SYS/") for topic in seer.topics)


@pytest.mark.parametrize("name", ["door", "home"])
def test_what_is_retained_is_no_way_around(broker: GuardedBroker, witness: Client, name: str) -> None:
    kept = sorted(FRAMES | COMMANDS | ANSWERS)
    for topic in kept:
        witness.publish(topic, b"kept", retain=True)
    with Client(broker, name) as client:
        client.subscribe("#")
        receives(client, witness, min(READS[name]))
        assert set(client.topics) == READS[name] & set(kept)
    for topic in kept:
        witness.publish(topic, b"", retain=True)


def test_a_clients_will_is_written_with_its_own_rights(broker: GuardedBroker, witness: Client) -> None:
    """Otherwise a camera could tell the fleet that a worker is lost, by vanishing."""
    witness.subscribe("nanofleet/#")
    for topic in ("nanofleet/workers/nano-1", "nanofleet/frames/garden", "nanofleet/frames/door"):
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
