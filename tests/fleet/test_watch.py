from __future__ import annotations

from typing import Callable

from fleet.workers.watch import QUIET, Fleet
from tests.faults.proxy import Proxy
from tests.harness import Listener
from wire.broker import BrokerSettings
from wire.topics import Topics


def test_what_is_retained_is_known_however_long_the_line(
    mosquitto_url: str, root: str, listen: Callable[..., Listener]
) -> None:
    topics = Topics(root)
    listen(mosquitto_url, f"{root}/results/+").publish(topics.model_command(), b"a command", retain=True)
    with Proxy(int(mosquitto_url.rpartition(":")[2])) as line:
        line.delay = 0.6 * QUIET  # there and back it is more
        with Fleet(BrokerSettings(broker=line.url).open_broker(), topics, timeout=30) as fleet:
            assert fleet.commands == {topics.model_command(): b"a command"}
