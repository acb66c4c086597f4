"""What brokers do differently, and how a client tells: by what the CONNACK names.

Mosquitto, and EMQX from 5.6 on, name a Receive Maximum. rumqttd, the embedded broker, does not, nor does EMQX
before 5.6, which is then treated as rumqttd: that costs it a second connection, and nothing is lost.

What is done for all brokers alike because one of them needs it is said where it is done: in
`worker.delivery.scheduler` for Mosquitto, whose queue looks at no Receive Maximum; for rumqttd in
`wire.mqtt.connection` (its will ends with any DISCONNECT) and
`worker.membership.adoption` (its UNSUBACKs).
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from paho.mqtt.properties import Properties


class Traits(NamedTuple):
    """One broker's ways."""

    names_receive_maximum: bool = False

    @classmethod
    def told_by(cls, connack: Optional[Properties]) -> Traits:
        """By the properties of a CONNACK."""
        return cls(names_receive_maximum=hasattr(connack, "ReceiveMaximum"))

    @property
    def sends_pubacks_while_behind(self) -> bool:
        """Whether a client hears of what it has published, however much it has yet to ack.

        rumqttd sends nothing more to a client with 100 frames to ack, not even the PUBACKs of their answers,
        without which there is no ack.
        """
        return self.names_receive_maximum

    @property
    def keeps_order(self) -> bool:
        """Whether what is published later comes later, also where another subscription brings it.

        rumqttd serves one subscription after the other; but it is silent once it has nothing left.
        """
        return self.names_receive_maximum

    @property
    def lets_members_rejoin(self) -> bool:
        """Whether a shared group goes on when a member leaves it and comes back: rumqttd stalls it."""
        return self.names_receive_maximum

    @property
    def shows_duplicates(self) -> bool:
        """Whether two members with one client id hear of each other, by the status that the other publishes.

        rumqttd hands it to neither: all there is to see is a connection that is lost again and again.
        """
        return self.names_receive_maximum
