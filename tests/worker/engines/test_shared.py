"""One process's engine behind the channels of several front ends."""

from __future__ import annotations

import errno
import gc
import socket
import struct
import threading
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, List, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.harness import wait_for
from tests.worker.engines.sharing import CHOICE, MAX_BATCH, STALL_TIMEOUT, background, pixels
from tests.worker.serving.small import SIDE, ChannelEngine, model
from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.engines.close_calls import CloseCalls
from worker.engines.opened import Opened, files_of
from worker.engines.shared import server as server_side
from worker.engines.shared.alarm import Alarm
from worker.engines.shared.channel import Rendezvous, receive_message, send_count, send_message
from worker.engines.shared.engine import SharedEngine, open_shared
from worker.engines.shared.models import Models
from worker.engines.shared.pulse import Pulse
from worker.engines.shared.server import serve


class Server:
    """What an engine process does, in threads of this one.

    Attributes:
        opened: the choices that have been opened.
        engines: those that have not been closed.
        errors: what is raised instead, by the model's name.
    """

    def __init__(self, make: Callable[[], Any] = ChannelEngine) -> None:
        self._make = make
        self.rendezvous = Rendezvous()
        self.opened: List[ModelChoice] = []
        self.engines: weakref.WeakSet[Any] = weakref.WeakSet()
        self.errors: Dict[str, BaseException] = {}
        arguments = (self.rendezvous, self._open, MAX_BATCH, STALL_TIMEOUT, Pulse())
        threading.Thread(target=serve, args=arguments, daemon=True).start()

    def _open(self, choice: ModelChoice) -> Opened:
        self.opened.append(choice)
        if choice.model in self.errors:
            raise self.errors[choice.model]
        engine = self._make()
        self.engines.add(engine)
        return Opened(files_of(choice), model(choice.model), engine)

    @property
    def engine(self) -> Any:
        """The only one."""
        (engine,) = self.engines
        return engine

    def engines_left(self) -> int:
        """How many have not been closed."""
        gc.collect()
        return len(self.engines)


def test_a_front_end_gets_the_model_and_its_answers() -> None:
    server = Server()
    opened = open_shared(server.rendezvous, CHOICE)
    assert opened.model == model("small")
    engine = opened.engine
    assert (engine.name, engine.device, engine.at_once) == ("channels", "cpu", 1)
    for size in (1, 3, MAX_BATCH):
        batch = pixels(size, seed=size)
        np.testing.assert_array_equal(engine.infer(batch), ChannelEngine().infer(batch))


def test_what_waits_for_the_engine_makes_one_batch_in_the_order_it_came() -> None:
    server = Server()
    engines = [open_shared(server.rendezvous, CHOICE).engine for _ in range(4)]
    server.engine.gate.clear()
    server.engine.batches.clear()
    batches = [pixels(size, seed=size) for size in (2, 3, 4, 5)]
    found: List[List[Any]] = []
    for engine, batch in zip(engines, batches):
        found.append(background(lambda e=engine, b=batch: e.infer(b)))  # type: ignore[misc]
        if len(found) == 1:  # the engine is at the first one while the others come
            wait_for(lambda: server.engine.batches == [2])
    # What came later than the last of them must not be what the engine was given.
    wait_for(lambda: sum(map(len, _waiting(server))) == 12, what="all wait")
    server.engine.gate.set()
    for batch, answer in zip(batches, found):
        wait_for(lambda a=answer: a)  # type: ignore[misc]
        np.testing.assert_array_equal(answer[0], ChannelEngine().infer(batch))
    assert server.engine.batches[0] == 2
    assert len(server.engine.batches) == 3
    assert max(server.engine.batches) in (7, 8)  # two of 3, 4 and 5, never more than MAX_BATCH


def test_each_front_end_counts_the_close_calls_of_its_own_batch() -> None:
    quick, exact = ChannelEngine(), ChannelEngine(swapped=True)
    server = Server(lambda: CloseCalls(quick, exact, margin=0.1))
    close, clear = np.full((1, SIDE, SIDE, 3), 9, np.uint8), np.full((1, SIDE, SIDE, 3), (1, 2, 9), np.uint8)
    batches = [np.concatenate(pictures) for pictures in ([clear], [close, clear, close], [clear], [close])]
    engines = [open_shared(server.rendezvous, CHOICE).engine for _ in batches]
    counted: List[List[int]] = [[] for _ in batches]
    for engine, numbers in zip(engines, counted):
        assert isinstance(engine, SharedEngine)
        engine.count_by(numbers.append)
    quick.gate.clear()
    quick.batches.clear()
    found = [background(lambda: engines[0].infer(batches[0]))]
    wait_for(lambda: quick.batches == [1])
    for engine, batch in zip(engines[1:], batches[1:]):
        found.append(background(lambda e=engine, b=batch: e.infer(b)))  # type: ignore[misc]
    wait_for(lambda: sum(map(len, _waiting(server))) == 5, what="all wait")
    quick.gate.set()
    wait_for(lambda: all(found), what="the answers")
    assert quick.batches == [1, 5]  # of three front ends
    assert [sum(numbers) for numbers in counted] == [0, 2, 0, 1]


def _waiting(server: Server) -> List[NDArray[np.uint8]]:
    """The pixels that wait for the server's only engine."""
    from worker.engines.shared.runner import Runner

    # Those of earlier tests may just be closing.
    runners = [each for each in gc.get_objects() if type(each) is Runner]
    (runner,) = (each for each in runners if each.opened.engine is server.engine)
    return [request.pixels for request in list(runner._waiting)]


def test_a_model_is_open_once_for_all_until_the_last_lets_go() -> None:
    server = Server()
    first, second = (open_shared(server.rendezvous, CHOICE) for _ in range(2))
    other = open_shared(server.rendezvous, ModelChoice(model="other"))
    assert [choice.model for choice in server.opened] == ["small", "other"]
    del first
    second.engine.infer(pixels(1))
    assert server.engines_left() == 2
    del second
    wait_for(lambda: server.engines_left() == 1, what="the model that nobody uses is closed")
    other.engine.infer(pixels(1))
    open_shared(server.rendezvous, CHOICE)
    assert [choice.model for choice in server.opened] == ["small", "other", "small"]


def test_a_file_that_was_replaced_is_opened_beside_the_former_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    file.write_text("trained on Monday")
    server, choice = Server(), ModelChoice(model=f"resnet18@{file}")
    monday = open_shared(server.rendezvous, choice)
    file.write_text("trained on Tuesday")
    tuesday = open_shared(server.rendezvous, choice)
    assert len(server.opened) == 2
    assert monday.files != tuesday.files == files_of(choice)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (SettingsError("no such model"), SettingsError),
        (NanofleetError("no network"), NanofleetError),
        (ZeroDivisionError("by its author"), RuntimeError),
        (SystemExit("by its author"), RuntimeError),
    ],
)
def test_what_keeps_a_model_from_being_opened_is_raised_in_each_front_end(
    raised: BaseException, expected: type
) -> None:
    server = Server()
    server.errors["small"] = raised
    for _ in range(2):
        with pytest.raises(expected, match=str(raised)) as error:
            open_shared(server.rendezvous, CHOICE)
        assert type(error.value) is expected
    del server.errors["small"]
    open_shared(server.rendezvous, CHOICE).engine.infer(pixels(1))


def test_a_front_end_for_which_there_is_no_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(size: int) -> NoReturn:
        raise OSError(errno.ENOMEM, "no memory left")

    server = Server()
    monkeypatch.setattr(server_side, "shared_memory", no_memory)
    found = background(lambda: refusal(server))
    (error,) = wait_for(lambda: found, what="it is refused")
    assert "no memory left" in str(error)
    assert len(server.opened) == 1
    monkeypatch.undo()
    open_shared(server.rendezvous, CHOICE).engine.infer(pixels(1))


def refusal(server: Server) -> RuntimeError:
    """Why a front end gets no model."""
    with pytest.raises(RuntimeError) as error:
        open_shared(server.rendezvous, CHOICE)
    return error.value


def test_where_nobody_can_be_asked_nothing_is_left_open() -> None:
    rendezvous = Rendezvous()
    rendezvous.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        rendezvous.connect()
    gc.collect()


def test_a_channel_is_open_until_its_last_batch_is_done() -> None:
    """Or another one may get the number of its descriptor, and this one's answer."""
    engine = ChannelEngine()
    models = Models(
        lambda choice: Opened({}, model("small"), engine), MAX_BATCH, Alarm(STALL_TIMEOUT, Pulse())
    )
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=server_side._serve, args=(theirs, models), daemon=True)
    serving.start()
    send_message(ours, {"choice": CHOICE.model_dump(mode="json")})
    receive_message(ours)
    engine.gate.clear()
    engine.batches.clear()
    send_count(ours, 1)
    wait_for(lambda: engine.batches)
    ours.close()
    serving.join(0.3)
    assert theirs.fileno() != -1
    engine.gate.set()
    serving.join(30)
    assert theirs.fileno() == -1


@pytest.mark.parametrize("count", [0, MAX_BATCH + 1, 0xFFFFFFFF])
def test_a_count_that_the_memory_cannot_hold_ends_that_channel_alone(count: int) -> None:
    server = Server()
    engine = open_shared(server.rendezvous, CHOICE).engine
    with server.rendezvous.connect() as channel:
        send_message(channel, {"choice": CHOICE.model_dump(mode="json")})
        receive_message(channel)
        channel.sendall(struct.pack("<I", count))
        assert channel.recv(1) == b""
    assert engine.infer(pixels(1)).shape == (1, 3)
