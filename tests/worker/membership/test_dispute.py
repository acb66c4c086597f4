"""Whether another worker seems to use the session: by how long its connections last."""

from __future__ import annotations

import pytest

from worker.membership.dispute import SHORT_LIFE_SECONDS, SHORT_LIVES, UNDISPUTED_SECONDS, Dispute


class Lives:
    """A dispute, and the connections of its session."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.dispute = Dispute("w1", clock=lambda: self.now)

    def live(self, *seconds: float) -> None:
        """Connect, and be lost after so many seconds; for each."""
        for each in seconds:
            self.dispute.connected()
            self.now += each
            self.dispute.lost()


SHORT, LONG = SHORT_LIFE_SECONDS / 2, UNDISPUTED_SECONDS


def test_a_network_that_fails_now_and_then_is_no_dispute() -> None:
    lives = Lives()
    lives.live(SHORT, SHORT, LONG, SHORT, SHORT)
    assert not lives.dispute.is_hung_up_on
    lives.dispute.connected()
    assert not lives.dispute.is_open


def test_a_connection_that_is_lost_soon_and_again_shows_another_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lives = Lives()
    lives.live(*[SHORT] * SHORT_LIVES)
    assert lives.dispute.is_hung_up_on
    assert "lost 3 times soon after it was made: does another worker run as 'w1'?" in caplog.text
    lives.dispute.connected()
    assert lives.dispute.is_open


def test_it_is_over_once_a_connection_lasts() -> None:
    lives = Lives()
    lives.live(*[SHORT] * SHORT_LIVES)
    lives.dispute.connected()
    lives.now += UNDISPUTED_SECONDS
    assert not lives.dispute.is_open
    lives.dispute.lost()
    lives.dispute.connected()
    assert not lives.dispute.is_open


def test_it_goes_on_while_the_other_may_come_back() -> None:
    lives = Lives()
    lives.live(*[SHORT] * SHORT_LIVES, (SHORT_LIFE_SECONDS + UNDISPUTED_SECONDS) / 2)
    assert not lives.dispute.is_hung_up_on
    lives.dispute.connected()
    assert lives.dispute.is_open


def test_short_lives_of_before_do_not_count_for_one_that_leaves() -> None:
    lives = Lives()
    lives.live(*[SHORT] * SHORT_LIVES)
    lives.dispute.count_again()
    assert not lives.dispute.is_hung_up_on
    lives.live(SHORT)
    assert not lives.dispute.is_hung_up_on
    assert lives.dispute.is_open, "the other may still be there"
