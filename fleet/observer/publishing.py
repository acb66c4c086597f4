"""What the active observer publishes: little at a time, of each topic the latest, and only while it may.

put ──> waiting, by topic ── room, and may ──> connection ── PUBACK ──> room
"""

from __future__ import annotations

import collections
import logging
from typing import Callable, Dict, List

from wire.mqtt.packets import Publication
from wire.mqtt.pubacks import REFUSED

log = logging.getLogger(__name__)

#: Publications that wait for their PUBACKs: less than the window of any broker. What the connection has taken
#: is sent whatever happens meanwhile, so the rest waits here.
MOST_IN_FLIGHT = 16
#: Topics, and events, that wait: a broker that takes nothing must not fill the memory.
MOST_WAITING = 10_000
#: Publications of one topic that wait, at most.
MOST_OF_ONE = 4


class Publishing:
    """All calls come from the connection's network thread."""

    def __init__(self, publish: Callable[[Publication], None], may_publish: Callable[[], bool]) -> None:
        """Begin empty.

        Args:
            publish: the connection's.
            may_publish: whether this observer is the active one, at this moment.
        """
        self._publish = publish
        self._may_publish = may_publish
        self._waiting: Dict[str, List[Publication]] = {}
        self._in_flight = 0
        #: Topics with a retained message in flight that is not empty.
        self._filling: Dict[str, int] = collections.Counter()
        self._events = 0
        self._has_warned = False

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and nothing is in flight."""
        return not self._waiting and not self._in_flight

    def put(self, *publications: Publication) -> None:
        """Publish these, of one topic, in this order.

        Of what is retained, the last one that still waits is dropped for them: only the latest is of use.
        """
        key, waiting = publications[0].topic, []
        if publications[0].retain:
            waiting = self._waiting.get(key, [])[:-1]
        else:
            self._events += 1
            key = f"{key} {self._events}"
        if key in self._waiting or len(self._waiting) < MOST_WAITING:
            self._waiting[key] = [*waiting, *publications][-MOST_OF_ONE:]
        self.pump()

    def empty(self, topic: str) -> None:
        """Somebody has emptied a retained topic: let nothing of this observer's fill it again."""
        self._waiting.pop(topic, None)
        if self._filling[topic]:
            self.put(Publication(topic, b"", retain=True))

    def pump(self) -> None:
        """Publish what there is room for."""
        while self._waiting and self._in_flight < MOST_IN_FLIGHT and self._may_publish():
            key = next(iter(self._waiting))
            publication = self._waiting[key].pop(0)
            if not self._waiting[key]:
                del self._waiting[key]
            fills = publication.retain and bool(publication.payload)
            self._in_flight += 1
            self._filling[publication.topic] += fills
            self._publish(publication._replace(on_puback=self._taken(publication, fills)))

    def _taken(self, publication: Publication, fills: bool) -> Callable[[int], None]:
        topic = publication.topic

        def take(reason_code: int) -> None:
            self._in_flight -= 1
            self._filling[topic] -= fills
            if not self._filling[topic]:
                del self._filling[topic]
            if publication.on_puback is not None:
                publication.on_puback(reason_code)
            elif reason_code >= REFUSED and not self._has_warned:
                self._has_warned = True
                log.warning(
                    "the broker refuses %s (0x%02x): its ACL must let observers write there",
                    topic,
                    reason_code,
                )
            self.pump()

        return take
