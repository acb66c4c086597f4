"""Who adopts whom, and when: by statuses and a clock alone."""

from __future__ import annotations

import tracemalloc
from typing import Dict, List

import pytest

from tests.worker.fleet import INPUTS, LEASE, claim, status
from wire.messages import WorkerStatus
from worker.membership.peers import MAX_PEERS, Peers

GRACE = 60.0


class Fleet:
    """Peers that hear the same statuses at the same times."""

    def __init__(self, *names: str, grace: float = GRACE) -> None:
        self.now = 1000.0
        self.living = list(names)
        self.peers = {name: Peers(name, "workers", INPUTS, grace, clock=lambda: self.now) for name in names}

    def hear(self, message: WorkerStatus, *, retained: bool = False) -> None:
        for peers in self.peers.values():
            peers.receive_beacon(message.worker, message.instance)
            peers.receive(message, retained=retained)

    def wait(self, seconds: float) -> None:
        """Let time pass, with the heartbeats of the living in it."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 10, until)
            for name in self.living:
                self.hear(status(name))

    def claim(self, dead: str, worker: str, state: str = "draining", instance: str = "") -> None:
        """Let a worker say that it adopts a dead one."""
        message = claim(dead, worker, state, instance=instance)
        for peers in self.peers.values():
            peers.receive_claim(message)

    def adopters(self, dead: str) -> List[str]:
        abandoned = {name: peers.abandoned() for name, peers in self.peers.items() if name in self.living}
        return [name for name, found in abandoned.items() if found and found.worker == dead]


def test_one_adopts_a_worker_that_is_lost_for_the_grace_time() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.wait(10)
    fleet.hear(status("dead", "lost"))
    fleet.wait(GRACE - 1)
    assert fleet.adopters("dead") == []
    fleet.wait(1)
    assert len(fleet.adopters("dead")) == 1


def test_the_next_one_steps_in_when_the_first_does_nothing() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.wait(10)
    fleet.hear(status("dead", "lost"))
    fleet.wait(GRACE)
    (first,) = fleet.adopters("dead")
    fleet.wait(GRACE)
    assert len(fleet.adopters("dead")) == 2
    assert first in fleet.adopters("dead")


def test_a_claim_renews_the_lease_and_its_end_lets_others_try() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.wait(10)
    fleet.hear(status("dead", "lost"))
    fleet.wait(GRACE)
    (adopter,) = fleet.adopters("dead")
    fleet.claim("dead", adopter)
    assert fleet.adopters("dead") == []
    fleet.living.remove(adopter)
    fleet.hear(status(adopter, "offline"))
    fleet.wait(GRACE)
    assert len(fleet.adopters("dead")) == 1


def test_a_session_that_was_drained_is_nobodys_until_its_worker_has_died_again() -> None:
    fleet = Fleet("a", "b")
    fleet.claim("dead", "c", "ended", instance="first life")  # retained: it may come before the status
    fleet.hear(status("dead", "lost", instance="first life"))
    fleet.wait(10 * GRACE)
    assert fleet.adopters("dead") == []
    fleet.hear(status("dead", "lost", instance="second life"))
    fleet.wait(3 * GRACE)
    assert fleet.adopters("dead") == ["a", "b"]


def test_one_that_comes_back_after_its_adoption_is_adopted_when_it_dies() -> None:
    """It had lost its network and not its life, so that it is the same process."""
    fleet = Fleet("a", "b")
    fleet.hear(status("away", instance="only life"))
    fleet.claim("away", "a", "ended", instance="only life")
    fleet.hear(status("away", instance="only life"), retained=True)
    assert fleet.peers["b"].takers() == [], "what is retained is from before"
    fleet.hear(status("away", instance="only life"))
    assert [peer.worker for peer in fleet.peers["b"].takers()] == ["away"]
    assert fleet.peers["a"].spent_claims() == ["away"]
    assert fleet.peers["b"].spent_claims() == []
    fleet.hear(status("away", "lost", instance="only life"))
    fleet.wait(3 * GRACE)
    assert fleet.adopters("away") == ["a", "b"]
    fleet.claim("away", "b", "ended", instance="only life")
    assert fleet.adopters("away") == []


def test_one_that_was_adopted_and_then_forgotten_is_not_adopted_again() -> None:
    fleet = Fleet("a", "b")
    fleet.wait(10)
    fleet.hear(status("dead", "lost"))
    fleet.claim("dead", "a", "ended")
    for peers in fleet.peers.values():
        peers.drop_claim("dead", "a")
    fleet.wait(10 * GRACE)
    assert fleet.adopters("dead") == []
    fleet.hear(status("dead"))
    fleet.hear(status("dead", "lost"))
    fleet.wait(2 * GRACE)
    assert fleet.adopters("dead")  # it was there once more


def test_an_adopted_worker_whose_last_word_was_online_takes_no_frames() -> None:
    fleet = Fleet("a")
    fleet.hear(status("dead", instance="first life"))
    assert [peer.worker for peer in fleet.peers["a"].takers()] == ["dead"]
    fleet.claim("dead", "b", "ended", instance="first life")
    assert fleet.peers["a"].takers() == []
    fleet.hear(status("dead", instance="second life"))
    assert [peer.worker for peer in fleet.peers["a"].takers()] == ["dead"]


@pytest.mark.parametrize("state", ["draining", "ended"])
def test_a_claim_on_a_worker_that_lives_means_nothing_once_it_dies(state: str) -> None:
    """It may have been drained while it was cut off; and a worker that was stolen claims what it likes."""
    fleet = Fleet("a")
    fleet.hear(status("back", instance="only life"))
    fleet.claim("back", "a", state, instance="only life")
    fleet.peers["a"].receive(status("back", instance="only life"), retained=True)  # that is from before
    fleet.claim("back", "thief", "ended", instance="only life")
    assert fleet.peers["a"].takers() == []
    fleet.hear(status("back", instance="only life"))
    assert [peer.worker for peer in fleet.peers["a"].takers()] == ["back"]
    assert fleet.peers["a"].spent_claims() == ["back"]
    fleet.hear(status("back", "lost", instance="only life"))
    fleet.wait(GRACE)
    assert fleet.adopters("back") == ["a"]


def test_little_is_kept_of_each_status() -> None:
    """2,000 of the longest took 140 MB of a worker."""
    peers = Fleet("a").peers["a"]
    long = status("long", assumed=["x" * 1024] * 30, inputs=["y" * 500] * 60, model="z" * 256).encode()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(200):
            peers.receive(WorkerStatus.decode(long.replace(b'"long"', b'"long-%d"' % number)))
        assert len(peers) == 200
        assert tracemalloc.get_traced_memory()[0] - before < 2 << 20
    finally:
        tracemalloc.stop()


def check_that_a_claim_counts(fleet: Fleet) -> None:
    fleet.claim("dead", "b", "ended", instance="first life")
    fleet.hear(status("dead", "lost", instance="first life"))
    fleet.wait(3 * GRACE)
    assert fleet.adopters("dead") == []


def test_made_up_claims_leave_room_for_those_of_others() -> None:
    """A worker that was stolen may write any number of claims, and the broker keeps them."""
    fleet = Fleet("a")
    for number in range(MAX_PEERS + 1):
        fleet.claim(f"made up {number}", "thief", "ended")
    check_that_a_claim_counts(fleet)


def test_claims_that_are_taken_back_leave_room_for_others() -> None:
    fleet = Fleet("a")
    for number in range(MAX_PEERS):
        fleet.claim(f"made up {number}", "thief", "ended")
        fleet.peers["a"].drop_claim(f"made up {number}", "thief")
    check_that_a_claim_counts(fleet)


def test_a_claim_on_an_earlier_life_holds_no_adoption_up() -> None:
    fleet = Fleet("a")
    fleet.hear(status("dead", "lost", instance="second life"))
    for _ in range(4):
        fleet.claim("dead", "c", instance="first life")
        fleet.wait(GRACE / 4)
    assert fleet.adopters("dead") == ["a"]


def test_a_claim_on_one_that_is_back_is_taken_back_by_its_worker() -> None:
    fleet = Fleet("a", "b")
    fleet.hear(status("dead", "lost", instance="first life"))
    fleet.claim("dead", "a", "ended", instance="first life")
    assert fleet.peers["a"].spent_claims() == []
    fleet.hear(status("dead", instance="second life"))
    assert fleet.peers["a"].spent_claims() == ["dead"]
    assert fleet.peers["b"].spent_claims() == []
    fleet.peers["a"].drop_claim("dead", "a")
    assert fleet.peers["a"].spent_claims() == []


def test_silence_past_the_lease_counts_as_death_without_a_will() -> None:
    fleet = Fleet("a")
    fleet.hear(status("dead"))
    fleet.wait(LEASE + GRACE - 1)
    assert fleet.adopters("dead") == []
    fleet.wait(1)
    assert fleet.adopters("dead") == ["a"]


@pytest.mark.parametrize("state", ["online", "offline", "draining"])
def test_who_is_back_or_gone_for_good_is_not_adopted(state: str) -> None:
    fleet = Fleet("a")
    fleet.hear(status("dead", "lost"))
    fleet.wait(GRACE - 1)
    fleet.hear(status("dead", state))
    fleet.wait(LEASE)
    assert fleet.adopters("dead") == []


@pytest.mark.parametrize("other", [{"group": "night"}, {"inputs": ["frigate/{camera}/snapshot"]}])
def test_only_workers_that_read_the_same_adopt(other: Dict[str, object]) -> None:
    fleet = Fleet("a")
    fleet.hear(status("dead", "lost", **other))
    fleet.wait(10 * GRACE)
    assert fleet.adopters("dead") == []


def test_what_was_heard_before_the_connection_was_lost_means_nothing() -> None:
    fleet = Fleet("a")
    fleet.hear(status("dead"))
    fleet.wait(LEASE + GRACE - 1)
    fleet.peers["a"].forget()
    fleet.hear(status("dead"))  # retained, as it is heard again
    fleet.wait(10)
    assert fleet.adopters("dead") == []


def test_a_worker_never_adopts_itself_nor_anyone_if_told_so() -> None:
    fleet = Fleet("a", grace=0)
    fleet.hear(status("a", "lost"))
    fleet.hear(status("dead", "lost"))
    fleet.wait(1000)
    assert fleet.adopters("a") == fleet.adopters("dead") == []


def test_the_dead_are_spread_over_the_living() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.wait(10)
    shares: Dict[str, int] = dict.fromkeys("abc", 0)
    for number in range(300):
        fleet.hear(status(f"dead-{number}", "lost"))
        fleet.now += GRACE
        for name in fleet.living:
            fleet.hear(status(name))
        (adopter,) = fleet.adopters(f"dead-{number}")
        shares[adopter] += 1
        fleet.claim(f"dead-{number}", adopter, "ended")
    assert min(shares.values()) > 60
