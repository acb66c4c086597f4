"""A fleet for the publisher: it answers by plain paho. And what a spool holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import List

import paho.mqtt.client as mqtt

from tests.harness import Listener
from wire.messages import Candidate, Reason, Rejection, Result, utc_now


class Answerer(Listener):
    """Answers each frame as a worker would, from its size alone; bytes that say "silence" get nothing."""

    def __init__(self, url: str, root: str) -> None:
        self.root = root
        super().__init__(url, f"{root}/frames/+")
        self.client.on_message = self._answer

    def _answer(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        self.messages.append(message)
        camera = message.topic.rsplit("/", 1)[1]
        common = {
            "frame_id": dict(message.properties.UserProperty)["frame-id"],
            "camera": camera,
            "worker": "paho",
            "received_at": utc_now(),
        }
        if b"silence" in message.payload:
            return
        if b"bad" in message.payload:
            rejection = Rejection(reason=Reason.NOT_AN_IMAGE, detail="text", **common)
            client.publish(f"{self.root}/rejects/{camera}", rejection.encode(), qos=1)
            return
        best = Candidate(label="cup", index=1, confidence=0.5)
        result = Result(
            **common,
            model="m",
            weights="w",
            label="cup",
            index=1,
            confidence=0.5,
            top=(best,),
            width=1,
            height=1,
            answered_at=utc_now(),
            timings_ms={},
            batch_size=1,
        )
        client.publish(f"{self.root}/results/{camera}", result.encode(), qos=1)


def frame_ids(answerer: Answerer) -> Counter[str]:
    return Counter(dict(m.properties.UserProperty)["frame-id"] for m in answerer.messages)


def kept(tmp_path: Path) -> List[Path]:
    return sorted((tmp_path / "spool").rglob("*.frame"))
