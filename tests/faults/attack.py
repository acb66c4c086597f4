"""Rounds of messages for an attack: every kind of the corpus, mutated pictures and good frames, shuffled."""

from __future__ import annotations

import random
import re
from typing import Any, Dict, List, NamedTuple, Sequence

from tests.faults.hostile.kind import RESULT, Kind
from tests.faults.hostile.mutations import mutate
from wire.mqtt.packets import Delivery
from worker.delivery.frame import Frame

SEED = 20
#: What may come of a mutated picture.
MUTATED = f"{RESULT} empty invalid_envelope not_an_image corrupt_image image_too_large"
MUTATED += " decoder_timeout decoder_crashed"
#: What the good frames show, in the order of the fixture `images`.
LABELS = ("missile", "espresso", "Egyptian cat")


class Message(NamedTuple):
    """One message on its way.

    `kind` names it in a failure; `outcomes` are the right answers; `label` is that of a good frame.
    """

    frame_id: str
    kind: str
    payload: bytes
    outcomes: str
    properties: Dict[str, Any]
    label: str = ""


class Round(NamedTuple):
    """Messages in their order, and the resident bytes of worker and decoders, time and again meanwhile."""

    messages: List[Message]
    worker: List[int]
    decoders: List[int]


class Attack:
    """Makes the messages of rounds that are alike, but for chance."""

    def __init__(
        self, root: str, kinds: Sequence[Kind], pictures: Sequence[bytes], good: Sequence[bytes]
    ) -> None:
        self._topic = f"{root}/frames/camera"
        self._kinds = kinds
        self._pictures = pictures
        self._good = good
        self._dice = random.Random(SEED)
        self._count = 0

    def round(self, bad: int, good: int, copies: int) -> Round:
        """A round with so many bad messages; the kinds that are not costly have so many copies among them."""
        messages = [self._of(kind) for kind in self._kinds for _ in range(1 if kind.costly else copies)]
        assert len(messages) <= bad
        messages += [self._mutated() for _ in range(bad - len(messages))]
        messages += [self._of_good(number) for number in range(good)]
        self._dice.shuffle(messages)
        return Round(messages, [], [])

    def _next_id(self) -> str:
        self._count += 1
        return f"hostile-{self._count}"

    def _of(self, kind: Kind) -> Message:
        frame_id = self._next_id()
        payload, given = kind.bytes_for(frame_id), kind.user_properties(frame_id)
        properties = {**kind.more, **({"UserProperty": given} if given else {})}
        if kind.hashed:
            delivery = Delivery(self._topic, payload, 1, False, 1, 1, dict(given))
            frame_id = Frame.receive(delivery, "camera").frame_id
        return Message(frame_id, kind.name, payload, kind.outcomes, properties)

    def _mutated(self) -> Message:
        frame_id = self._next_id()
        payload = mutate(self._dice, self._pictures)
        return Message(frame_id, f"mutation {frame_id}", payload, MUTATED, _named(frame_id))

    def _of_good(self, number: int) -> Message:
        frame_id, which = self._next_id(), number % len(LABELS)
        return Message(frame_id, "good", self._good[which], RESULT, _named(frame_id), LABELS[which])


def _named(frame_id: str) -> Dict[str, Any]:
    return {"UserProperty": [("frame-id", frame_id)]}


def has_control_characters(text: str) -> bool:
    """Mosquitto ends the connection of who sends such a topic or property; rumqttd lets it through."""
    return re.search("[\x00-\x1f\x7f-\x9f]", text) is not None


def passes_mosquitto(kind: Kind) -> bool:
    """Whether a message of this kind gets as far as a worker."""
    return not any(has_control_characters(value) for _, value in kind.user_properties("x"))
