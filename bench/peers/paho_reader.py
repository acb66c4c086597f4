"""A plain paho client that reads frames, and prints an empty line for each. QoS 1, MQTT 5.

python -m bench.peers.paho_reader PORT
"""

from __future__ import annotations

import os
import sys
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


def main(port: str) -> None:
    """Read until killed."""

    def on_message(client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        os.write(1, b"\n")

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = on_message
    client.connect("127.0.0.1", int(port))
    client.subscribe("bench/frames/+", qos=1)
    client.loop_forever()


if __name__ == "__main__":
    main(sys.argv[1])
