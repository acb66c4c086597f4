"""The network thread: calls that other threads post, and what ends it."""

from __future__ import annotations

import selectors
import threading
from typing import List

from wire.mqtt.handlers import HandlerFailed
from wire.mqtt.network_thread import NetworkThread


class Looping:
    """A thread that does nothing but run what is posted, until it is stopped."""

    def __init__(self) -> None:
        self.failures: List[BaseException] = []
        self.thread = NetworkThread(self._work, self.failures.append)
        self._stopped = False

    def __enter__(self) -> NetworkThread:
        self.thread.start()
        return self.thread

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.thread.post(lambda: setattr(self, "_stopped", True))
        self.thread.join(60)
        assert self.thread.ended.is_set()

    def _work(self) -> None:
        self.thread.run_calls_for(60, lambda: self._stopped)


def test_calls_run_in_the_thread_in_the_order_of_posting() -> None:
    ran: List[object] = []
    looping = Looping()
    looping.thread.post(lambda: ran.append("before the start"))
    with looping as thread:
        for number in range(100):
            thread.post(lambda number=number: ran.append(number))  # type: ignore[misc]
        thread.post(lambda: ran.append(thread.is_current()))
    assert ran == ["before the start", *range(100), True]
    assert not looping.thread.is_current()
    assert looping.thread.failure is None
    assert not looping.failures


def test_a_call_that_posts_another_lets_others_run_before_it() -> None:
    """Else one that posts itself again and again would keep the socket from being read."""
    ran: List[str] = []
    thread = NetworkThread(lambda: None, lambda failure: None)

    def first() -> None:
        thread.post(lambda: ran.append("posted meanwhile"))
        ran.append("first")

    thread.post(first)
    thread.run_calls()
    assert ran == ["first"]
    thread.run_calls()
    assert ran == ["first", "posted meanwhile"]
    thread.start()
    assert thread.ended.wait(60)


def test_a_post_of_another_thread_wakes_a_selector_until_it_is_taken_back() -> None:
    thread = NetworkThread(lambda: None, lambda failure: None)
    with selectors.DefaultSelector() as selector:
        selector.register(thread.wake_socket, selectors.EVENT_READ)
        assert not selector.select(0)
        for _ in range(100_000):  # more bytes than the socket has room for, if each sent one
            thread.post(lambda: None)
        assert selector.select(0)
        thread.woken()
        assert not selector.select(0)
        thread.post(lambda: None)
        assert selector.select(0)
    thread.start()
    assert thread.ended.wait(60)


def test_what_a_call_raises_ends_the_thread() -> None:
    problem = ValueError("a defect")

    def fail() -> None:
        raise problem

    looping = Looping()
    looping.thread.post(fail)
    looping.thread.start()
    assert looping.thread.ended.wait(60)
    assert looping.thread.failure is problem
    assert looping.failures == [problem]
    looping.thread.post(lambda: None)  # nothing is left to run it, and nothing raises


def test_an_oserror_of_a_call_is_not_taken_for_the_connections() -> None:
    def fail() -> None:
        raise FileNotFoundError("a handler's file")

    looping = Looping()
    looping.thread.post(fail)
    looping.thread.start()
    assert looping.thread.ended.wait(60)
    assert isinstance(looping.thread.failure, HandlerFailed)
    assert "FileNotFoundError: a handler's file" in str(looping.thread.failure)


def test_a_call_does_not_wait_for_the_end_of_a_pause() -> None:
    ran = threading.Event()
    with Looping() as thread:
        thread.post(ran.set)
        assert ran.wait(60)
