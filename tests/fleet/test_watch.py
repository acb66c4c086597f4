from __future__ import annotations

from fleet.workers import watch
from tests.faults.proxy import Proxy
from tests.fleets import Fleet
from wire.broker import BrokerSettings
from wire.topics import Topics


def test_what_is_retained_is_known_however_long_the_line(mosquitto_url: str, root: str, fleet: Fleet) -> None:
    topics = Topics(root)
    fleet.listen("results/+").publish(topics.model_command(), b"a command", retain=True)
    with Proxy(int(mosquitto_url.rpartition(":")[2])) as line:
        line.delay = 0.6 * watch.QUIET  # there and back it is more
        broker = BrokerSettings(broker=line.url).open_broker()
        with watch.Fleet(broker, topics, timeout=30) as watched:
            assert watched.commands == {topics.model_command(): b"a command"}
