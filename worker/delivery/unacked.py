"""The frames in hand, which are acked in the order in which they came [MQTT 5, 4.6.0-2].

All calls come from the network thread.
"""

from __future__ import annotations

import collections
import time
from typing import Callable, Deque, Dict, List, Optional, Tuple

from wire.messages import FRAME_ID_PROPERTY
from wire.mqtt.packets import Delivery
from worker.delivery.frame import Frame

#: Topic, whether it is a retained message's copy, the publisher's id, a hash of the payload.
_Message = Tuple[str, bool, Optional[str], bytes]

#: Seconds with room for more in which a broker has sent all that it had.
EMPTY_AFTER_SECONDS = 1.0
#: Frames in hand with which there is room in any window: fewer than a broker sends ahead that has more.
MOST_WITH_ROOM = 15


class Waits:
    """How long a frame can have waited with the broker: not at all, if there was room for it before it came.

    Room means fewer than half of what may be in hand, and few: some brokers send less ahead than they may,
    rumqttd 100 frames, and Mosquitto its `max_inflight_messages`, which is 20 where nobody has set it.
    """

    def __init__(self) -> None:
        self._room_since: Optional[float] = None
        self._empty_at: Optional[float] = None

    def room(self, there: bool) -> None:
        """Note whether there is room now."""
        now = time.perf_counter()
        if self._room_since is not None and now - self._room_since >= EMPTY_AFTER_SECONDS:
            self._empty_at = now
        self._room_since = (now if self._room_since is None else self._room_since) if there else None

    def longest(self, now: float) -> Optional[float]:
        """Seconds that a frame which comes now can have waited; None where that is unknown."""
        if self._room_since is not None and now - self._room_since >= EMPTY_AFTER_SECONDS:
            return 0.0
        return None if self._empty_at is None else now - self._empty_at


class Unacked:
    """Frames from delivery to ack, across reconnects."""

    def __init__(self, ack: Callable[[Delivery], None], window: int = 0) -> None:
        """Begin without a frame.

        Args:
            ack: acks one delivery; called in the order of `admit`.
            window: frames that may be in hand, where it matters how long they have waited.
        """
        self._ack = ack
        self._waits = Waits()
        self._connected = False
        self._window = window
        self._order: Deque[Frame] = collections.deque()
        #: Frames of a connection that was lost, which the broker will deliver again.
        self._awaited: Dict[_Message, List[Frame]] = {}

    def __len__(self) -> int:
        """Frames whose answer is not out yet, or whose ack can be and is not.

        An answered one that is not delivered again may never be: a drain must not wait for it. The broker has
        it no more if another worker adopted the session meanwhile, or if its database is older.
        """
        awaited = (frame for frames in list(self._awaited.values()) for frame in list(frames))
        return len(self._order) + sum(not frame.settled for frame in awaited)

    @property
    def unanswered(self) -> int:
        """Frames whose answer is not out yet. Other messages, a status say, need none."""
        awaited = (frame for frames in list(self._awaited.values()) for frame in list(frames))
        return sum(not frame.settled for frame in [*self._order, *awaited])

    def admit(self, frame: Frame) -> bool:
        """Take a frame in; False if it is the copy of one already in hand, which goes on as it was."""
        # Hashing takes time, and frames are rarely awaited. What came at QoS 0 comes once.
        message = _message(frame) if self._awaited and frame.delivery.qos else None
        copies = self._awaited.get(message) if message else None
        if not message or not copies:
            frame.unacked = self
            if not frame.delivery.retain:  # the broker may have kept a retained one for any time
                frame.longest_wait = self._waits.longest(frame.received_ticks)
            self._order.append(frame)
            self._note_room()
            return True
        known = copies.pop(0)
        if not copies:
            del self._awaited[message]
        known.redelivered(frame.delivery)
        self._order.append(known)
        self._ack_settled()
        return False

    def pass_over(self, delivery: Delivery) -> bool:
        """Take in a message that needs no answer; its ack, too, has to wait for those before it.

        Returns:
            False if it is the copy of a message already in hand.
        """
        frame = Frame.receive(delivery, "")
        is_new = self.admit(frame)
        if is_new:
            self.settle(frame)
        return is_new

    def settle(self, frame: Frame) -> None:
        """Ack a frame, whose answer is with the broker, as soon as all before it are acked."""
        frame.settled = True
        if not frame.delivery.qos:
            self._forget(lambda awaited: awaited is frame)
        self._ack_settled()

    def lost(self) -> None:
        """Await all again: the connection is gone, and its deliveries cannot be acked.

        Answered frames that were awaited already, and have not come by now, are forgotten. If the broker was
        about to deliver them, and this connection was lost very soon, they are answered twice.
        """
        self._forget(lambda awaited: awaited.settled)
        for frame in self._order:
            self._awaited.setdefault(_message(frame), []).append(frame)
        self._order.clear()
        self._connected = False
        self._note_room()

    def _forget(self, which: Callable[[Frame], bool]) -> None:
        for message, frames in list(self._awaited.items()):
            frames[:] = [frame for frame in frames if not which(frame)]
            if not frames:
                del self._awaited[message]

    def connected(self, session_present: bool) -> None:
        """Note a new connection; without the old session nothing will be delivered again."""
        if not session_present:
            self._awaited.clear()
        self._connected = True
        self._note_room()

    def _note_room(self) -> None:
        in_hand = len(self._order)
        self._waits.room(self._connected and in_hand <= MOST_WITH_ROOM and 2 * in_hand < self._window)

    def _ack_settled(self) -> None:
        while self._order and self._order[0].settled:
            self._ack(self._order.popleft().delivery)
        self._note_room()


def _message(frame: Frame) -> _Message:
    # Not the frame's id: an envelope may change that later, and two cameras may count alike. A retained copy
    # of a frame in hand is another message: the broker will deliver that frame again as well.
    delivery = frame.delivery
    return delivery.topic, delivery.retain, delivery.user_properties.get(FRAME_ID_PROPERTY), frame.digest()
