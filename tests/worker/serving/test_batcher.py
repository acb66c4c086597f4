"""Batching: what is ready, at once, and never more than fits."""

from __future__ import annotations

import threading
import time
from typing import List

import pytest

from worker.serving.batcher import Batcher


def test_takes_what_is_ready_up_to_the_limit() -> None:
    batcher: Batcher[int] = Batcher(max_batch=4, max_delay=0)
    for number in range(6):
        batcher.put(number)
    assert batcher.take() == [0, 1, 2, 3]
    assert batcher.take() == [4, 5]


def test_without_a_delay_one_item_does_not_wait_for_company() -> None:
    batcher: Batcher[int] = Batcher(max_batch=4, max_delay=0)
    threading.Timer(0.05, batcher.put, [1]).start()
    threading.Timer(0.5, batcher.put, [2]).start()
    assert batcher.take() == [1]
    assert batcher.take() == [2]


def test_with_a_delay_it_waits_for_more_but_not_once_it_is_full() -> None:
    batcher: Batcher[int] = Batcher(max_batch=2, max_delay=30)
    batcher.put(1)
    threading.Timer(0.05, batcher.put, [2]).start()
    began = time.monotonic()
    assert batcher.take() == [1, 2]
    assert time.monotonic() - began < 20


def test_it_waits_for_what_is_queued_before_it() -> None:
    batcher: Batcher[int] = Batcher(
        max_batch=3, max_delay=0, more_to_come=lambda first: batcher.put(2) or True
    )
    batcher.put(1)
    assert batcher.take() == [1, 2, 2]


def test_it_does_not_wait_for_ever_for_what_takes_long() -> None:
    batcher: Batcher[int] = Batcher(max_batch=3, max_delay=0, more_to_come=lambda first: True)
    batcher.put(1)
    assert batcher.take() == [1]


def test_it_does_not_wait_for_what_has_gone_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.serving.batcher.MAX_WAIT_SECONDS", 3600.0)
    queued, asked = [2], threading.Event()

    def more_to_come(first: int) -> bool:
        asked.set()
        return bool(queued)

    batcher: Batcher[int] = Batcher(max_batch=3, max_delay=0, more_to_come=more_to_come)
    taken: List[List[int]] = []
    thread = threading.Thread(target=lambda: taken.append(batcher.take()), daemon=True)
    batcher.look_again()  # nobody waits yet
    batcher.put(1)
    thread.start()
    assert asked.wait(30)
    queued.clear()
    batcher.look_again()
    thread.join(30)
    assert taken == [[1]]


def test_closing_hands_out_the_rest_first_and_then_nothing() -> None:
    batcher: Batcher[int] = Batcher(max_batch=2, max_delay=30)
    batcher.put(1)
    batcher.close()
    assert batcher.take() == [1]
    assert batcher.take() == []


def test_close_wakes_who_waits() -> None:
    batcher: Batcher[int] = Batcher(max_batch=2, max_delay=0)
    threading.Timer(0.05, batcher.close).start()
    assert batcher.take() == []


@pytest.mark.parametrize("delay", [0, 1e-9, 1e-6, 1e-5])
def test_a_batch_is_never_waited_for_longer_however_short_the_delay_is(delay: float) -> None:
    def take() -> None:
        for number in range(2_000):
            batcher: Batcher[int] = Batcher(max_batch=4, max_delay=delay)
            for _ in range(2):  # of the second, the queue has been waited for before
                batcher.put(number)
                taken.append(batcher.take())

    taken: List[List[int]] = []
    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(60)
    assert taken == [[number] for number in range(2_000) for _ in range(2)]
