"""What a member reads: subscribed to on each connection, and perhaps unsubscribed from in between."""

from __future__ import annotations

import threading
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from wire.errors import ReadingRefused
from wire.mqtt.options import ConnectionOptions
from wire.mqtt.pubacks import PASSING


class Subscriptions:
    """The subscriptions of one client. All calls come from the network thread.

    Attributes:
        confirmed: set once the broker has confirmed what this connection has subscribed to.
    """

    def __init__(self, client: mqtt.Client, options: ConnectionOptions) -> None:
        """Take a client of paho's, and what its member wants to read."""
        self.confirmed = threading.Event()
        self._client = client
        self._broker = options.broker
        self._wanted = dict(options.subscriptions or {})
        self._in_new_session = options.subscribe_in_new_session
        #: Those that were dropped; the broker's session may still have them after a reconnect.
        self._unwanted: Dict[str, int] = {}
        self._unconfirmed: Dict[int, List[str]] = {}
        #: The packet ids of UNSUBSCRIBEs without their UNSUBACKs.
        self._unsubscribes: Set[int] = set()
        #: The last UNSUBSCRIBE, which named all that is unwanted: its packet id, and what its UNSUBACK sets.
        self._unsubscribe_mid: Optional[int] = None
        self._unsubscribed = threading.Event()
        client.on_subscribe = self._handle_suback
        client.on_unsubscribe = self._handle_unsuback

    def connected(self, session_present: bool) -> None:
        """Make the broker's session hold what is wanted, and nothing else."""
        self._unconfirmed.clear()
        self._unsubscribes.clear()
        self.confirmed.clear()
        if session_present or self._in_new_session:
            self._subscribe(self._wanted)
        if self._unwanted:
            self._unsubscribe()

    def uses(self, mid: int) -> bool:
        """Whether a SUBSCRIBE or UNSUBSCRIBE that is not confirmed yet has this packet id."""
        return mid in self._unconfirmed or mid in self._unsubscribes

    def drop(self, topics: Sequence[str], unsubscribed: threading.Event, connected: bool) -> None:
        """Unsubscribe from some, which may be an earlier connection's: now, or at the next connect.

        Args:
            topics: those to drop.
            unsubscribed: set once the broker has confirmed that; an UNSUBACK due before sets an earlier one.
            connected: whether a packet can be sent.
        """
        self._unwanted.update({topic: self._wanted.pop(topic, 1) for topic in topics})
        self._unsubscribed = unsubscribed
        self._unsubscribe_mid = None
        if connected:
            self._unsubscribe()

    def restore(self, topics: Sequence[str], connected: bool) -> None:
        """Subscribe again to some that were dropped."""
        again = {topic: self._unwanted.pop(topic) for topic in topics if topic in self._unwanted}
        self._wanted.update(again)
        if connected:
            self._subscribe(again)

    def _unsubscribe(self) -> None:
        _, mid = self._client.unsubscribe(list(self._unwanted))
        assert mid is not None
        self._unsubscribe_mid = mid
        self._unsubscribes.add(mid)

    def _subscribe(self, subscriptions: Mapping[str, int]) -> None:
        if subscriptions:
            wanted = [(topic, SubscribeOptions(qos=qos)) for topic, qos in subscriptions.items()]
            _, mid = self._client.subscribe(wanted)
            assert mid is not None
            self._unconfirmed[mid] = list(subscriptions)

    def _handle_suback(
        self,
        client: mqtt.Client,
        userdata: Any,
        mid: int,
        reasons: List[ReasonCode],
        properties: Optional[Properties],
    ) -> None:
        found = zip(self._unconfirmed.pop(mid, []), reasons)
        refused = {topic: reason for topic, reason in found if reason.is_failure}
        if refused:
            shown = ", ".join(f"{topic} ({reason})" for topic, reason in refused.items())
            raise ReadingRefused(
                f"{self._broker} does not let this member read {shown}: check the broker's ACL",
                [topic for topic, reason in refused.items() if reason.value not in PASSING],
            )
        if not self._unconfirmed:
            self.confirmed.set()

    def _handle_unsuback(self, client: mqtt.Client, userdata: Any, mid: int, *_: Any) -> None:
        self._unsubscribes.discard(mid)
        if mid == self._unsubscribe_mid:
            self._unsubscribed.set()
