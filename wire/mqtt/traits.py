"""What brokers do differently, and how a client notices: by what the CONNACK names.

Mosquitto, and EMQX from 5.6 on, name a Receive Maximum. rumqttd, the embedded broker, does not, nor does EMQX
before 5.6, which is then treated as rumqttd: that costs it a second connection, and nothing is lost.

What is there for rumqttd, and mostly for it alone:

fleet.embedded                    starts it; its probe finds out that it has panicked
wire.mqtt.connection              hangs up where the will is to be published: any DISCONNECT ends it there
worker.delivery.outbox            a second connection for the answers       (sends_pubacks_while_behind)
worker.delivery.scheduler         keeps the window itself: rumqttd sends 100 frames, Mosquitto 2.0 any number
worker.membership.session_drain   waits until nothing more comes            (keeps_order)
worker.membership.adoption        subscribes before it unsubscribes, or there is no UNSUBACK
worker.membership.dispute         a duplicate shows by lost connections     (worker.session: shows_duplicates)
worker.session                    never steps aside                         (lets_members_rejoin)
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from paho.mqtt.properties import Properties


class Traits(NamedTuple):
    """What one broker does."""

    names_receive_maximum: bool = False

    @classmethod
    def of(cls, connack: Optional[Properties]) -> Traits:
        """What the properties of a CONNACK show."""
        return cls(names_receive_maximum=hasattr(connack, "ReceiveMaximum"))

    @property
    def sends_pubacks_while_behind(self) -> bool:
        """Whether a client receives PUBACKs, however much it has yet to ack itself.

        rumqttd sends nothing more to a client with 100 frames to ack, not even the PUBACKs of their answers,
        without which there is no ack.
        """
        return self.names_receive_maximum

    @property
    def keeps_order(self) -> bool:
        """Whether messages are delivered in the order of publication, also across subscriptions.

        rumqttd serves one subscription after the other; but it sends nothing more once it has nothing left.
        """
        return self.names_receive_maximum

    @property
    def lets_members_rejoin(self) -> bool:
        """Whether a shared subscription goes on when a member leaves it and returns: rumqttd stalls it."""
        return self.names_receive_maximum

    @property
    def shows_duplicates(self) -> bool:
        """Whether two members with one client id each receive the status that the other publishes.

        rumqttd delivers it to neither: all there is to see is a connection that is lost again and again.
        """
        return self.names_receive_maximum
