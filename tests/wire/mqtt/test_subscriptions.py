"""What a member unsubscribes from, and which UNSUBACK confirms it."""

from __future__ import annotations

from typing import Callable, List

from tests.harness import wait_for
from tests.wire.mqtt.members import Member, send
from tests.wire.servers import LateUnsubacks


def test_an_unsuback_that_is_due_to_an_earlier_call_confirms_no_later_one(
    join: Callable[..., Member],
) -> None:
    """A worker that has just stepped aside leaves: what it drains must be unsubscribed from before."""
    confirmed: List[bool] = []
    with LateUnsubacks() as broker:
        member = join(
            broker.url, on_delivery=lambda delivery: confirmed.append(member.connection.unsubscribed.is_set())
        )
        member.connection.unsubscribe(["a"])
        member.connection.unsubscribe(["b"])
        wait_for(lambda: confirmed, 10, "the message behind the first UNSUBACK")
        assert confirmed == [False]
        send(member, "c", b"x")
        assert member.connection.unsubscribed.wait(10)
