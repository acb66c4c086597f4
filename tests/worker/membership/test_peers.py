"""Who adopts whom, and when: by statuses and a clock alone."""

from __future__ import annotations

import tracemalloc
from typing import Dict, List

import pytest

from tests.worker.fleet import INPUTS, LEASE, claim, status
from wire.messages import WorkerStatus
from worker.membership.peers import MAX_PEERS, Peers

GRACE = 60.0


class Group:
    """Peers that receive the same statuses at the same times."""

    def __init__(self, *names: str, grace: float = GRACE) -> None:
        self.now = 1000.0
        self.living = list(names)
        self.peers = {
            name: Peers(name, "workers", INPUTS, grace, clock=lambda: self.now, lease=LEASE) for name in names
        }

    def receive(self, message: WorkerStatus, *, retained: bool = False) -> None:
        for peers in self.peers.values():
            peers.receive_beacon(message.worker, message.instance)
            peers.receive(message, retained=retained)

    def wait(self, seconds: float) -> None:
        """Let time pass, with the heartbeats of the living in it."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 10, until)
            for name in self.living:
                self.peers[name].tick()
                self.receive(status(name))

    def claim(self, dead: str, worker: str, state: str = "draining", instance: str = "") -> None:
        """Let a worker say that it adopts a dead one."""
        message = claim(dead, worker, state, instance=instance)
        for peers in self.peers.values():
            peers.receive_claim(message)

    def adopters(self, dead: str) -> List[str]:
        abandoned = {name: peers.abandoned() for name, peers in self.peers.items() if name in self.living}
        return [name for name, found in abandoned.items() if found and found.worker == dead]


def test_one_adopts_a_worker_that_is_lost_for_the_grace_time() -> None:
    group = Group("a", "b", "c")
    group.wait(10)
    group.receive(status("dead", "lost"))
    group.wait(GRACE - 1)
    assert group.adopters("dead") == []
    group.wait(1)
    assert len(group.adopters("dead")) == 1


def test_the_next_one_steps_in_when_the_first_does_nothing() -> None:
    group = Group("a", "b", "c")
    group.wait(10)
    group.receive(status("dead", "lost"))
    group.wait(GRACE)
    (first,) = group.adopters("dead")
    group.wait(GRACE)
    assert len(group.adopters("dead")) == 2
    assert first in group.adopters("dead")


def test_a_claim_renews_the_lease_and_its_end_lets_others_try() -> None:
    group = Group("a", "b", "c")
    group.wait(10)
    group.receive(status("dead", "lost"))
    group.wait(GRACE)
    (adopter,) = group.adopters("dead")
    group.claim("dead", adopter)
    assert group.adopters("dead") == []
    group.living.remove(adopter)
    group.receive(status(adopter, "offline"))
    group.wait(GRACE)
    assert len(group.adopters("dead")) == 1


def test_a_session_that_was_drained_is_nobodys_until_its_worker_has_died_again() -> None:
    group = Group("a", "b")
    group.claim("dead", "c", "ended", instance="first life")  # retained: it may come before the status
    group.receive(status("dead", "lost", instance="first life"))
    group.wait(10 * GRACE)
    assert group.adopters("dead") == []
    group.receive(status("dead", "lost", instance="second life"))
    group.wait(3 * GRACE)
    assert group.adopters("dead") == ["a", "b"]


def test_one_that_comes_back_after_its_adoption_is_adopted_when_it_dies() -> None:
    """It had lost its network and not its life, so that it is the same process."""
    group = Group("a", "b")
    group.receive(status("away", instance="only life"))
    group.claim("away", "a", "ended", instance="only life")
    group.receive(status("away", instance="only life"), retained=True)
    assert group.peers["b"].takers() == [], "what is retained is from before"
    group.receive(status("away", instance="only life"))
    assert [peer.worker for peer in group.peers["b"].takers()] == ["away"]
    assert group.peers["a"].spent_claims() == ["away"]
    assert group.peers["b"].spent_claims() == []
    group.receive(status("away", "lost", instance="only life"))
    group.wait(3 * GRACE)
    assert group.adopters("away") == ["a", "b"]
    group.claim("away", "b", "ended", instance="only life")
    assert group.adopters("away") == []


def test_one_that_was_adopted_and_then_forgotten_is_not_adopted_again() -> None:
    group = Group("a", "b")
    group.wait(10)
    group.receive(status("dead", "lost"))
    group.claim("dead", "a", "ended")
    for peers in group.peers.values():
        peers.drop_claim("dead", "a")
    group.wait(10 * GRACE)
    assert group.adopters("dead") == []
    group.receive(status("dead"))
    group.receive(status("dead", "lost"))
    group.wait(2 * GRACE)
    assert group.adopters("dead")  # it was there once more


def test_an_adopted_worker_whose_last_word_was_online_takes_no_frames() -> None:
    group = Group("a")
    group.receive(status("dead", instance="first life"))
    assert [peer.worker for peer in group.peers["a"].takers()] == ["dead"]
    group.claim("dead", "b", "ended", instance="first life")
    assert group.peers["a"].takers() == []
    group.receive(status("dead", instance="second life"))
    assert [peer.worker for peer in group.peers["a"].takers()] == ["dead"]


def test_workers_that_were_stopped_together_do_not_adopt_each_other() -> None:
    """As by `docker pause` of all, the broker among them."""
    group = Group("a", "b")
    group.wait(10)
    group.now += 3600
    for name in group.living:
        group.peers[name].tick()
        assert group.peers[name].abandoned() is None
    group.living.remove("b")
    group.wait(LEASE + GRACE)
    assert group.adopters("b") == ["a"]


@pytest.mark.parametrize("state", ["draining", "ended"])
def test_a_claim_on_a_worker_that_lives_means_nothing_once_it_dies(state: str) -> None:
    """It may have been drained while it was cut off; and a worker that was stolen claims what it likes."""
    group = Group("a")
    group.receive(status("back", instance="only life"))
    group.claim("back", "a", state, instance="only life")
    group.peers["a"].receive(status("back", instance="only life"), retained=True)  # that is from before
    group.claim("back", "stolen", "ended", instance="only life")
    assert group.peers["a"].takers() == []
    group.receive(status("back", instance="only life"))
    assert [peer.worker for peer in group.peers["a"].takers()] == ["back"]
    assert group.peers["a"].spent_claims() == ["back"]
    group.receive(status("back", "lost", instance="only life"))
    group.wait(GRACE)
    assert group.adopters("back") == ["a"]


def test_little_is_kept_of_each_status() -> None:
    """2,000 of the longest took 140 MB of a worker."""
    peers = Group("a").peers["a"]
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


def check_that_a_claim_counts(group: Group) -> None:
    group.claim("dead", "b", "ended", instance="first life")
    group.receive(status("dead", "lost", instance="first life"))
    group.wait(3 * GRACE)
    assert group.adopters("dead") == []


def test_made_up_claims_leave_room_for_those_of_others() -> None:
    """A worker that was stolen may write any number of claims, and the broker keeps them."""
    group = Group("a")
    for number in range(MAX_PEERS + 1):
        group.claim(f"made up {number}", "stolen", "ended")
    check_that_a_claim_counts(group)


def test_claims_that_are_taken_back_leave_room_for_others() -> None:
    group = Group("a")
    for number in range(MAX_PEERS):
        group.claim(f"made up {number}", "stolen", "ended")
        group.peers["a"].drop_claim(f"made up {number}", "stolen")
    check_that_a_claim_counts(group)


def test_a_claim_on_an_earlier_life_holds_no_adoption_up() -> None:
    group = Group("a")
    group.receive(status("dead", "lost", instance="second life"))
    for _ in range(4):
        group.claim("dead", "c", instance="first life")
        group.wait(GRACE / 4)
    assert group.adopters("dead") == ["a"]


def test_a_claim_on_one_that_is_back_is_taken_back_by_its_worker() -> None:
    group = Group("a", "b")
    group.receive(status("dead", "lost", instance="first life"))
    group.claim("dead", "a", "ended", instance="first life")
    assert group.peers["a"].spent_claims() == []
    group.receive(status("dead", instance="second life"))
    assert group.peers["a"].spent_claims() == ["dead"]
    assert group.peers["b"].spent_claims() == []
    group.peers["a"].drop_claim("dead", "a")
    assert group.peers["a"].spent_claims() == []


def test_silence_past_the_lease_counts_as_death_without_a_will() -> None:
    group = Group("a")
    group.receive(status("dead"))
    group.wait(LEASE + GRACE - 1)
    assert group.adopters("dead") == []
    group.wait(1)
    assert group.adopters("dead") == ["a"]


@pytest.mark.parametrize("state", ["online", "offline", "draining"])
def test_who_is_back_or_gone_for_good_is_not_adopted(state: str) -> None:
    group = Group("a")
    group.receive(status("dead", "lost"))
    group.wait(GRACE - 1)
    group.receive(status("dead", state))
    group.wait(LEASE)
    assert group.adopters("dead") == []


@pytest.mark.parametrize("other", [{"group": "night"}, {"inputs": ["frigate/{camera}/snapshot"]}])
def test_only_workers_that_read_the_same_adopt(other: Dict[str, object]) -> None:
    group = Group("a")
    group.receive(status("dead", "lost", **other))
    group.wait(10 * GRACE)
    assert group.adopters("dead") == []


def test_what_was_heard_before_the_connection_was_lost_means_nothing() -> None:
    group = Group("a")
    group.receive(status("dead"))
    group.wait(LEASE + GRACE - 1)
    group.peers["a"].forget()
    group.receive(status("dead"))  # retained, as it is received again
    group.wait(10)
    assert group.adopters("dead") == []


def test_a_worker_never_adopts_itself_nor_anyone_if_told_so() -> None:
    group = Group("a", grace=0)
    group.receive(status("a", "lost"))
    group.receive(status("dead", "lost"))
    group.wait(1000)
    assert group.adopters("a") == group.adopters("dead") == []


def test_the_dead_are_spread_over_the_living() -> None:
    group = Group("a", "b", "c")
    group.wait(10)
    shares: Dict[str, int] = dict.fromkeys("abc", 0)
    for number in range(300):
        group.receive(status(f"dead-{number}", "lost"))
        group.now += GRACE
        for name in group.living:
            group.receive(status(name))
        (adopter,) = group.adopters(f"dead-{number}")
        shares[adopter] += 1
        group.claim(f"dead-{number}", adopter, "ended")
    assert min(shares.values()) > 60
