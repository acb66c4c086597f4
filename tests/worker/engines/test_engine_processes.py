"""Engine processes that fail, hang or are killed, and those that come after them."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any, Callable, Iterator, List

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.harness import wait_for
from tests.worker.engines.sharing import CHOICE, MAX_BATCH, background, pixels
from tests.worker.serving.small import ChannelEngine, model
from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.engines.base import Engine
from worker.engines.opened import Opened, files_of
from worker.engines.shared import models as models_side
from worker.engines.shared.alarm import STALLED
from worker.engines.shared.channel import Rendezvous
from worker.engines.shared.engine import EngineEnded, SharedEngine, _connected, open_shared
from worker.engines.shared.server import serve
from worker.processes.engine_process import EngineProcess
from worker.processes.forked import Forked, Report
from worker.processes.member import Member
from worker.settings import WorkerSettings

# Python 3.12 warns of forking with threads, which those who run tests have.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class FailingEngine(ChannelEngine):
    """Has room for the batch that asks how many outputs there are, and for no other."""

    def infer(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See ChannelEngine."""
        if self.batches:
            raise RuntimeError("out of memory")
        return super().infer(pixels)


class HangingEngine(ChannelEngine):
    """Does not come back from the second batch, and lets no other thread run."""

    def infer(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See ChannelEngine."""
        if self.batches:
            ctypes.PyDLL(None).sleep(3600)
        return super().infer(pixels)


class PickyEngine(ChannelEngine):
    """Ends its process at a picture with a black corner, from the second batch on."""

    def infer(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See ChannelEngine."""
        if not pixels[:, 0, 0].any(axis=-1).all() and self.batches:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().infer(pixels)


class TwoAtOnce(ChannelEngine):
    """As its name says."""

    at_once = 2


class Supervised(EngineProcess):
    """An engine process that serves an engine of a test's."""

    def __init__(
        self, rendezvous: Rendezvous, open_it: Callable[[ModelChoice], Opened], stall_timeout: float
    ) -> None:
        flags = ("--stall-timeout", str(stall_timeout))
        super().__init__(WorkerSettings.from_command_line("nanofleet worker", flags), rendezvous)

        def work(report: Report) -> int:
            serve(rendezvous, open_it, MAX_BATCH, stall_timeout, self._pulse)

        self.work = work


def running(member: Member) -> Forked:
    """The process, which may have ended."""
    assert member.process
    return member.process


class Processes:
    """Engine processes, one after the other."""

    def __init__(self) -> None:
        self.rendezvous = Rendezvous()
        self._all: List[Supervised] = []

    def start(
        self,
        engine: Callable[[], ChannelEngine] = ChannelEngine,
        name: str = "small",
        stall_timeout: float = 3600,
    ) -> Forked:
        """Start the next one, whose model has a name."""

        def open_it(choice: ModelChoice) -> Opened:
            return Opened(files_of(choice), model(name), engine())

        self._all.append(Supervised(self.rendezvous, open_it, stall_timeout))
        self._all[-1].start()
        return running(self._all[-1])

    def look_after(self, until: Callable[[], Any]) -> Any:
        """Look after the last one, as its supervisor does."""
        return wait_for(lambda: self._all[-1].end_if_stuck() or until())

    def kill(self, process: Forked) -> None:
        """End one."""
        process.send_signal(signal.SIGKILL)
        wait_for(lambda: process.exit_code() is not None)

    def close(self) -> None:
        """End them all."""
        for each in self._all:
            self.kill(running(each))
            running(each).close()
        self.rendezvous.close()


@pytest.fixture
def processes() -> Iterator[Processes]:
    given = Processes()
    yield given
    given.close()


def test_an_engine_that_fails_ends_its_process_and_the_next_one_answers(processes: Processes) -> None:
    failing = processes.start(FailingEngine)
    engine, batch = open_shared(processes.rendezvous, CHOICE).engine, pixels(2)
    found = background(lambda: engine.infer(batch))
    wait_for(lambda: failing.exit_code() is not None, what="the process ends")
    assert failing.exit_code() == 1
    processes.start()
    (answer,) = wait_for(lambda: found, what="the next one answers")
    np.testing.assert_array_equal(answer, ChannelEngine().infer(batch))


def test_an_engine_that_hangs_ends_its_process_and_the_next_one_answers(processes: Processes) -> None:
    hanging = processes.start(HangingEngine, stall_timeout=0.3)
    engine, batch = open_shared(processes.rendezvous, CHOICE).engine, pixels(2)
    found = background(lambda: engine.infer(batch))
    assert processes.look_after(hanging.exit_code) == -STALLED
    processes.start(stall_timeout=0.3)
    (answer,) = wait_for(lambda: found, what="the next one answers")
    np.testing.assert_array_equal(answer, ChannelEngine().infer(batch))


def test_a_model_that_hangs_while_it_is_opened_ends_its_process(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang() -> ChannelEngine:
        ctypes.PyDLL(None).sleep(3600)
        return ChannelEngine()

    monkeypatch.setattr(models_side, "OPEN_TIMEOUT", 0.3)
    hanging = processes.start(hang, stall_timeout=0.3)
    found = background(lambda: open_shared(processes.rendezvous, CHOICE))
    assert processes.look_after(hanging.exit_code) == -STALLED
    monkeypatch.undo()
    processes.start()
    wait_for(lambda: found, what="the next one opens it")


def test_a_model_that_keeps_python_from_running_while_it_is_opened_is_waited_for(
    processes: Processes,
) -> None:
    """As a library does that compiles."""

    def compile_it() -> ChannelEngine:
        ctypes.PyDLL(None).sleep(4)
        return ChannelEngine()

    slow = processes.start(compile_it, stall_timeout=1)
    found = background(lambda: open_shared(processes.rendezvous, CHOICE))
    processes.look_after(lambda: found or slow.exit_code())
    assert slow.exit_code() is None


def test_a_batch_that_ends_two_engine_processes_is_given_up_and_no_other(processes: Processes) -> None:
    innocent, guilty = pixels(2), pixels(1)
    guilty[0, 0, 0] = 0
    dying = processes.start(PickyEngine)
    engines = [open_shared(processes.rendezvous, CHOICE).engine for _ in range(3)]
    dying.send_signal(signal.SIGSTOP)  # so that all are there when it goes on
    found = [
        background(lambda e=e, b=b: outcome(e, b)) for e, b in zip(engines, (innocent, guilty, innocent))
    ]  # type: ignore[misc]
    dying.send_signal(signal.SIGCONT)
    wait_for(lambda: dying.exit_code() is not None, what="the first one ends")
    dying = processes.start(PickyEngine)
    wait_for(lambda: dying.exit_code() is not None, what="the next one ends")
    lasting = processes.start(PickyEngine)
    wait_for(lambda: all(found), what="all have an answer, or none to expect")
    (first,), (given_up,), (last,) = found
    assert isinstance(given_up, EngineEnded)
    for answer in (first, last):
        np.testing.assert_array_equal(answer, ChannelEngine().infer(innocent))
    assert lasting.exit_code() is None


def outcome(engine: Engine, batch: NDArray[np.uint8]) -> Any:
    """The answer, or why there is none."""
    try:
        return engine.infer(batch)
    except NanofleetError as error:
        return error


def test_a_model_that_was_replaced_meanwhile_ends_the_front_end(processes: Processes) -> None:
    first = processes.start(name="before")
    engine = open_shared(processes.rendezvous, CHOICE).engine
    processes.kill(first)
    processes.start(name="after")
    with pytest.raises(NanofleetError, match="was replaced"):
        engine.infer(pixels(1))


def test_a_model_that_was_replaced_between_two_channels_is_noticed(processes: Processes) -> None:
    first = processes.start(TwoAtOnce, name="before")
    channel = _connected(processes.rendezvous, CHOICE)
    processes.kill(first)
    processes.start(TwoAtOnce, name="after")
    with pytest.raises(NanofleetError, match="was replaced"):
        SharedEngine(processes.rendezvous, CHOICE, channel)


def test_a_model_that_cannot_be_opened_again_is_for_the_next_start_to_judge(processes: Processes) -> None:
    def broken() -> ChannelEngine:
        raise SettingsError("--model: there is none any more")

    first = processes.start()
    engine = open_shared(processes.rendezvous, CHOICE).engine
    processes.kill(first)
    processes.start(broken)
    error = outcome(engine, pixels(1))
    assert (type(error), error.exit_code) == (NanofleetError, 1)
    assert str(error) == "--model: there is none any more; leaving, to be started again"
