"""What a member unsubscribes from, and which UNSUBACK confirms it."""

from __future__ import annotations

from typing import Callable, List

from tests.harness import wait_for
from tests.wire.mqtt.members import Member, send
from tests.wire.servers import LateUnsubacks, NoAnswers
from wire.mqtt.packets import Publication


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
        wait_for(lambda: confirmed, what="the message behind the first UNSUBACK")
        assert confirmed == [False]
        send(member, "c", b"x")
        assert member.connection.unsubscribed.wait(60)


def test_what_a_handler_publishes_comes_behind_what_it_has_subscribed_to(
    mosquitto_url: str, join: Callable[..., Member]
) -> None:
    """A worker that steps in says so, and another may then leave: the broker must have its SUBSCRIBE."""
    member = join(mosquitto_url, "frames", "status")
    connection = member.connection

    def step_in() -> None:
        connection.subscribe(["frames"])
        connection.publish(Publication("status", b"takes frames"))
        connection.publish(Publication("frames", b"frame"))

    connection.unsubscribe(["frames"])
    assert connection.unsubscribed.wait(60)
    connection.call(step_in)
    wait_for(lambda: b"takes frames" in member.payloads(), what="the status")
    member.wait_subscribed()
    assert b"frame" in member.payloads()


def test_no_two_packets_without_their_answers_have_one_id(join: Callable[..., Member]) -> None:
    """A broker takes the second for the first again, or hangs up."""
    with NoAnswers() as broker:
        member = join(broker.url, "a", "b", wait=False)
        connection = member.connection
        for count, begin in enumerate(
            [
                lambda: None,  # the SUBSCRIBE of the CONNACK
                lambda: connection.publish(Publication("t", b"1")),
                lambda: connection.unsubscribe(["a"]),
                lambda: connection.publish(Publication("t", b"2")),
                lambda: connection.subscribe(["a"]),
                lambda: connection.unsubscribe(["b"]),
            ]
        ):
            begin()
            wait_for(lambda: len(broker.ids) > count, what="the packet")  # noqa: B023
            # As after 65,535 others.
            connection.call(lambda: setattr(connection._client, "_last_mid", 0))
        assert broker.ids == [1, 2, 3, 4, 5, 6]
