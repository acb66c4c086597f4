"""Which observer is active, by statuses and a clock alone."""

from __future__ import annotations

import tracemalloc
from typing import Dict, List, Set

import pytest
from pydantic import ValidationError

from fleet.observer.election import MAX_OBSERVERS, MOST_SILENCE, Election
from fleet.observer.settings import ObserveSettings
from fleet.observer.task import MOST_INTERVAL, Task
from wire.broker import BrokerSettings
from wire.observers import ObserverStatus
from wire.topics import Topics

LEASE = 30.0


class Fleet:
    """Observers on a broker that retains their last statuses."""

    def __init__(self, *names: str) -> None:
        self.now = 1000.0
        self.retained: Dict[str, ObserverStatus] = {}
        self.there: Dict[str, Election] = {}
        #: Those that do not run, although their connection stands.
        self.frozen: Set[str] = set()
        for name in names:
            self.start(name)

    def start(self, name: str, instance: str = "") -> None:
        instance = instance or f"{name}'s"
        self.there[name] = Election(name, instance, "nanofleet", LEASE, clock=lambda: self.now)
        for status in self.retained.values():
            self.there[name].receive(status, retained=True)
        self.publish(name)

    def publish(self, name: str) -> None:
        election = self.there[name]
        status = ObserverStatus(
            observer=name,
            instance=election._instance,
            active=election.active,
            lease_seconds=LEASE,
            version="0",
        )
        self.retained[name] = status
        for other in [election, *(self.there[each] for each in self.there if each not in self.frozen)]:
            other.receive(status, retained=False)
        election.confirmed(self.now)

    def lose(self, name: str) -> None:
        """Its connection breaks: the broker publishes its will."""
        del self.there[name]
        del self.retained[name]
        for other in self.there.values():
            other.left(name)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 1, until)
            for name, election in self.there.items():
                if name in self.frozen:
                    continue
                first = election.is_first()
                if election.active != first or self.now % 10 == 0:
                    election.active = first
                    self.publish(name)

    def active(self) -> List[str]:
        return [name for name, election in self.there.items() if election.active]

    def may_publish(self) -> List[str]:
        return [name for name, election in self.there.items() if election.may_publish()]


def test_one_of_several_is_active_and_a_newcomer_displaces_nobody() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.wait(10)
    (first,) = fleet.active()
    for name in "defghijklm":
        fleet.start(name)
        fleet.wait(5)
    assert fleet.active() == fleet.may_publish() == [first]


def test_nobody_is_active_before_it_knows_the_others() -> None:
    fleet = Fleet()
    election = Election("a", "a's", "nanofleet", LEASE, clock=lambda: fleet.now)
    election.confirmed(fleet.now)
    assert not election.is_first()
    election.receive(
        ObserverStatus(observer="a", instance="a's", active=False, lease_seconds=LEASE, version="0"),
        retained=False,
    )
    assert not election.is_first()
    fleet.now += 1
    assert election.is_first()


def test_another_takes_over_at_once_when_the_will_tells() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.wait(10)
    (first,) = fleet.active()
    fleet.lose(first)
    fleet.wait(1)
    assert len(fleet.active()) == 1


def test_one_that_is_frozen_has_lost_its_right_before_another_has_it() -> None:
    fleet = Fleet("a", "b")
    fleet.wait(10)
    (first,) = fleet.active()
    fleet.frozen.add(first)
    for _ in range(40):
        fleet.wait(1)
        assert len(fleet.may_publish()) <= 1
    (second,) = fleet.may_publish()
    assert second != first
    assert not fleet.there[first].is_first()
    fleet.frozen.clear()
    for status in fleet.retained.values():  # what has come meanwhile
        fleet.there[first].receive(status, retained=False)
    fleet.wait(30)
    assert fleet.active() == fleet.may_publish() == [second]


def test_of_two_that_are_active_one_stops() -> None:
    """Two halves of a network that are joined again."""
    fleet = Fleet("a", "b")
    for election in fleet.there.values():
        election.active = True
    for name in fleet.there:
        fleet.publish(name)
    fleet.wait(2)
    assert len(fleet.active()) == 1


def test_one_that_cannot_reach_the_broker_stops() -> None:
    fleet = Fleet("a")
    fleet.wait(5)
    assert fleet.may_publish() == ["a"]
    fleet.now += LEASE
    assert fleet.may_publish() == []
    assert not fleet.there["a"].is_first()


def test_what_is_retained_of_a_dead_one_counts_for_its_lease() -> None:
    fleet = Fleet()
    fleet.retained["dead"] = ObserverStatus(
        observer="dead", instance="x", active=True, lease_seconds=LEASE, version="0"
    )
    fleet.start("a")
    fleet.wait(LEASE - 1)
    assert fleet.active() == []
    fleet.wait(2)
    assert fleet.active() == ["a"]


def test_its_own_earlier_process_does_not_count() -> None:
    fleet = Fleet()
    fleet.retained["a"] = ObserverStatus(
        observer="a", instance="before", active=True, lease_seconds=LEASE, version="0"
    )
    fleet.start("a")
    fleet.wait(2)
    assert fleet.active() == ["a"]


def test_two_of_one_name_are_two() -> None:
    fleet = Fleet("a")
    fleet.wait(5)
    first = fleet.there.pop("a")
    twin = Election("a", "another", "nanofleet", LEASE, clock=lambda: fleet.now)
    statuses = [
        ObserverStatus(observer="a", instance=instance, active=active, lease_seconds=LEASE, version="0")
        for instance, active in ((first._instance, True), ("another", False))
    ]
    for each in (first, twin):
        for status in statuses:
            each.receive(status, retained=False)
        each.confirmed(fleet.now)
    fleet.now += 2
    assert first.is_first()
    assert not twin.is_first()


def test_the_farewell_of_one_of_two_of_one_name_removes_neither_before_its_lease_ends() -> None:
    fleet = Fleet("a")
    fleet.wait(2)
    for instance in ("first", "second"):
        status = ObserverStatus(observer="z", instance=instance, active=True, lease_seconds=5, version="0")
        fleet.there["a"].receive(status, retained=False)
    fleet.there["a"].left("z")
    assert not fleet.there["a"].is_first()
    fleet.wait(6)
    assert fleet.there["a"].is_first()


def test_no_lease_that_somebody_gives_itself_is_long() -> None:
    fleet = Fleet("a")
    lie = ObserverStatus(observer="z", instance="z", active=True, lease_seconds=3600, version="0")
    fleet.there["a"].receive(lie, retained=False)
    fleet.wait(50)
    assert fleet.active() == []
    fleet.wait(20)
    assert fleet.active() == ["a"]


def test_no_worker_gives_its_observer_a_lease_that_does_not_count() -> None:
    broker = BrokerSettings().find_broker()
    for interval in (0.5, 10.0, 600.0):
        task = Task(broker, Topics(), "a", interval, {}, 300.0, ())
        assert task.lease == 3 * task.interval <= MOST_SILENCE
        assert task.interval == min(20.0, interval)


def test_no_observer_by_itself_takes_an_interval_that_would_be_cut() -> None:
    assert ObserveSettings(status_interval=MOST_INTERVAL).status_interval == MOST_INTERVAL
    with pytest.raises(ValidationError, match="less than or equal to 20"):
        ObserveSettings(status_interval=30)


def test_it_remembers_a_bounded_number() -> None:
    election = Election("a", "a's", "nanofleet", LEASE, clock=lambda: 0.0)
    tracemalloc.start()
    for n in range(2 * MAX_OBSERVERS):
        name = f"{n}{100 * 'x'}"
        status = ObserverStatus(observer=name, instance=name, active=False, lease_seconds=LEASE, version="0")
        election.receive(status, retained=False)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 10_000_000
