"""What a member wants of its connection: the broker, its own name, its terms, and what handles the events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Mapping, Optional

from wire.broker import Broker
from wire.mqtt.packets import Delivery, Publication
from wire.mqtt.publish_queue import DEFAULT_RECEIVE_MAXIMUM


@dataclass(eq=False, repr=False)
class ConnectionOptions:
    """The arguments of a Connection.

    Handlers run in the network thread. What they raise ends it, and becomes the connection's `failure`; an
    OSError as a HandlerFailed, because it is no lost connection.
    """

    broker: Broker
    #: The session's name; unique in the whole broker.
    client_id: str
    #: Receives each message; acks it later with `ack`.
    on_delivery: Callable[[Delivery], None]
    #: Called after each CONNACK, with whether the broker still had the session.
    on_connected: Callable[[bool], None] = lambda session_present: None
    #: Called when a connection has ended, lost or by `close()`; not where a failure ends the thread.
    on_lost: Callable[[], None] = lambda: None
    #: Called with what ended the thread, when it will not connect again.
    on_failure: Callable[[BaseException], None] = lambda failure: None
    #: Topic filters with their QoS, 0 or 1. The broker keeps no message of QoS 0 for a member that is away.
    subscriptions: Optional[Mapping[str, int]] = None
    #: Whether to subscribe also where the broker has no session of this member.
    subscribe_in_new_session: bool = True
    #: Published by the broker when this member vanishes.
    will: Optional[Publication] = None
    #: Seconds that the broker waits with it; a member that returns in time has not vanished.
    will_delay: int = 0
    #: Seconds for which the broker keeps the session of a vanished member.
    session_expiry: int = 0
    #: Messages that the broker may send ahead of their acks.
    receive_maximum: int = DEFAULT_RECEIVE_MAXIMUM
    #: Bytes of a packet that the broker may send, at most; it drops what is larger. None takes all: a worker
    #: has to answer a frame that is too large, too.
    largest_packet: Optional[int] = None
    #: Whether to connect again after a loss; without, a loss ends the thread.
    reconnect: bool = True
    #: Whether the thread ends when another client takes the session over; without, that is like any loss.
    gives_way: bool = True
