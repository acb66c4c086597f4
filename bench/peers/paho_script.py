"""The usual script: paho-mqtt, whose on_message decodes, classifies and publishes what it saw. QoS 1.

python -m bench.peers.paho_script PORT MODEL WEIGHTS_DIR
"""

from __future__ import annotations

import json
import sys
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.peers.usual import load_classifier


def main(port: str, model: str, weights_dir: str) -> None:
    """Classify until killed."""
    classify = load_classifier(model, weights_dir)

    def on_connect(client: mqtt.Client, *_: Any) -> None:
        client.subscribe("frames/+", qos=1)

    def on_message(client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        camera = message.topic.rpartition("/")[2]
        client.publish(f"results/{camera}", json.dumps(classify(bytes(message.payload))), qos=1)

    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = on_connect
    client.on_message = on_message
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.connect("127.0.0.1", int(port))
    client.loop_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
