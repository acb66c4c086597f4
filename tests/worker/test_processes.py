"""What the supervisor of several processes gives each, and what it does when one ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import List, Optional

import pytest

from tests.harness import needs_root, wait_for
from tests.tiny import tiny_model
from wire.errors import NanofleetError, SettingsError
from wire.signals import stop_signals
from worker import memory
from worker.engines.shared.channel import Rendezvous
from worker.membership.identity import claim_worker_id
from worker.processes import member, roles, shares
from worker.processes.engine_process import EngineProcess
from worker.processes.forked import Report, Work
from worker.processes.front_end import FrontEnd
from worker.processes.member import End, Member
from worker.processes.notices import Notices
from worker.processes.roles import LEAVE, LEAVE_AT_ONCE
from worker.processes.supervisor import Supervisor
from worker.settings import WorkerSettings
from worker.watchdog import notify

# Python 3.12 warns of forking with threads, which those who run tests have.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def settings(*argv: str) -> WorkerSettings:
    return WorkerSettings.from_command_line("nanofleet worker", argv)


@pytest.mark.parametrize(("processes", "each"), [(2, 6), (4, 3), (6, 2), (14, 1), (32, 1)])
def test_beside_a_gpu_decoders_get_the_cores_that_others_leave(
    monkeypatch: pytest.MonkeyPatch, processes: int, each: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    given = settings("--processes", str(processes))
    assert shares.share_of(given, 1, 16, on_cpu=False).decoder_count == each


def test_on_a_cpu_decoders_are_as_many_as_one_process_has() -> None:
    given = settings("--processes", "2")
    share = shares.share_of(given, 1, 4, on_cpu=True)
    assert share.decoder_count == -(-given.decoder_count // 2)
    assert shares.share_of(settings("--decoders", "5"), 1, 4, on_cpu=True).decoder_count == 5


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_all_front_ends_together_have_the_memory_of_one_worker(
    monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(32)))
    monkeypatch.setattr(memory, "total", lambda: 8 << 30)
    several = ("--processes", str(processes), "--max-payload", str(4 << 20))
    for flags, on_cpu in (((), False), ((), True), (("--decoders", "2"), True)):
        share = shares.share_of(settings(*several, *flags), 1, 16, on_cpu)
        assert processes * share.decoder_count * share.decoder_bytes <= (8 << 30) // 2
        assert processes * share.receive_maximum * share.max_payload <= (8 << 30) // 8


def test_ids_and_ports_follow_each_other() -> None:
    given = settings("--processes", "2", "--worker-id", "box", "--metrics-port", "9000")
    both = [shares.share_of(given, number, 16, on_cpu=False) for number in (1, 2)]
    assert [share.worker_id for share in both] == ["box-1", "box-2"]
    assert [share.metrics_port for share in both] == [9000, 9001]
    assert [share.max_batch for share in both] == [16, 16]
    none = shares.share_of(settings("--processes", "2", "--metrics-port", "0"), 2, 16, on_cpu=False)
    assert none.metrics_port == 0
    # Each takes the next free one.
    free = shares.share_of(settings("--processes", "2"), 2, 16, on_cpu=False)
    assert "metrics_port" not in free.model_fields_set


def test_names_by_default_are_those_of_no_other_worker_of_the_host(tmp_path: Path) -> None:
    given = settings("--processes", "2", "--state-dir", str(tmp_path))
    with contextlib.ExitStack() as held:
        plain = [held.enter_context(claim_worker_id(tmp_path, None)) for _ in range(3)]
        several = [held.enter_context(shares.named(given)) for _ in range(2)]
        names = [shares.name_of(each, number) for each in several for number in (1, 2)]
        assert names == [f"{plain[0]}-{end}" for end in ("p-1", "p-2", "p2-1", "p2-2")]
        assert [held.enter_context(claim_worker_id(tmp_path, name)) for name in names] == names
        named = settings("--processes", "2", "--worker-id", "box")
        assert held.enter_context(shares.named(named)) is named


def ended(name: str, work: Work) -> End:
    started = Member(name, work)
    started.start()
    found: List[Optional[End]] = []
    wait_for(lambda: found.append(started.ended()) or found[-1])
    assert started.is_gone
    assert found[-1]
    return found[-1]


def test_a_process_reports_and_ends_with_its_code() -> None:
    def work(report: Report) -> int:
        report(left=True, restarts=False)
        return 7

    end = ended("a name that is longer than the kernel's", work)
    assert (end.code, end.left, end.error) == (7, True, None)


@pytest.mark.parametrize(("code", "kind"), [(2, SettingsError), (1, NanofleetError)])
def test_an_error_is_the_parents_as_well(code: int, kind: type) -> None:
    def work(report: Report) -> int:
        report(error="--model: there is none")
        return code

    error = ended("w", work).error
    assert (type(error), str(error)) == (kind, "--model: there is none")


def test_a_process_that_is_killed_says_nothing() -> None:
    def work(report: Report) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    end = ended("w", work)
    assert (end.left, end.error, end.text) == (False, None, "was killed (SIGKILL)")


@needs_root
@pytest.mark.parametrize("user", [os.geteuid(), 65534])
def test_nobody_else_notifies_in_a_front_ends_place(monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    notices = Notices()
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notices.be_notified()

    def send() -> None:
        os.setuid(user)
        notify("READY=1")

    subprocess.run(["true"], check=True, cwd="/", preexec_fn=send)
    assert notices.read() == ({"READY=1"} if user == os.geteuid() else set())
    notices.close()


def test_what_stops_a_service_does_not_reach_its_processes(tmp_path: Path) -> None:
    def work(report: Report) -> int:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), signum)
        report(left=True)
        return 0

    assert ended("w", work).left


def test_the_next_engine_process_keeps_to_the_batches_that_the_front_ends_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = settings("--processes", "2", "--engine", "onnxruntime", *tiny_model())
    supervisor = Supervisor(given, contextlib.nullcontext, threading.Event(), [])
    seen = []
    for suits in (16, 4):  # as if the GPU were gone the second time
        monkeypatch.setattr(roles, "best_batch", lambda *_, suits=suits: suits)
        supervisor._engine.start()
        seen.append(supervisor._await_engine())
        supervisor._engine.send_signal(signal.SIGKILL)
        wait_for(supervisor._engine.ended)
    supervisor.close()
    assert [facts["max_batch"] for facts in seen if facts] == [16, 16]


class Asked(FrontEnd):
    """Notes the signals that it is sent; the first one comes together with a second one to the supervisor."""

    def __init__(self, rendezvous: Rendezvous) -> None:
        super().__init__(settings("--worker-id", "w"), rendezvous, contextlib.nullcontext)
        self.signals: List[int] = []

    def send_signal(self, signum: int) -> None:
        """See Member."""
        if signum == LEAVE and not self.signals:
            os.kill(os.getpid(), signal.SIGTERM)
        self.signals.append(signum)


def test_a_second_signal_while_front_ends_are_asked_to_leave_makes_none_skip_the_first() -> None:
    leaving = threading.Event()
    with stop_signals(leaving, always=[signal.SIGTERM], interrupts=False) as came:
        supervisor = Supervisor(settings("--processes", "2"), contextlib.nullcontext, leaving, came)
        both = [Asked(supervisor._rendezvous) for _ in range(2)]
        supervisor._front_ends += both
        os.kill(os.getpid(), signal.SIGTERM)
        supervisor._step()
        with pytest.raises(KeyboardInterrupt):
            supervisor._step()
        supervisor.hurry()
    assert [each.signals for each in both] == [[LEAVE, LEAVE_AT_ONCE]] * 2
    supervisor.close()


def test_a_process_that_dies_again_and_again_is_started_later_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    dying = Member("w", lambda report: 1)
    dying._began = now[0]
    waited = [dying.start_later() for _ in range(10)]
    assert waited[:3] == [member.FIRST_DELAY, 2 * member.FIRST_DELAY, 4 * member.FIRST_DELAY]
    assert waited[-1] == member.LONGEST_DELAY
    assert dying.due == now[0] + member.LONGEST_DELAY
    dying._began = now[0]
    now[0] += member.SOON + 1
    assert dying.start_later() == member.FIRST_DELAY


def engine_process_that_sleeps(rendezvous: Rendezvous) -> EngineProcess:
    def sleep(report: Report) -> int:
        signal.pause()
        return 0

    process = EngineProcess(settings("--stall-timeout", "9"), rendezvous)
    process.work = sleep
    return process


def test_an_engine_process_without_a_pulse_is_killed_but_not_for_what_its_supervisor_slept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look(later: float) -> None:
        now[0] += later
        process.end_if_stuck()

    now, rendezvous = [time.monotonic()], Rendezvous()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    process = engine_process_that_sleeps(rendezvous)
    process.start()
    look(member.OPEN_TIMEOUT)  # as if the machine's user had stopped both
    for _ in range(10):
        look(1)
    monkeypatch.undo()
    assert process.ended() is None
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    look(2)
    monkeypatch.undo()
    end: List[Optional[End]] = []
    wait_for(lambda: end.append(process.ended()) or end[-1])
    assert end[-1]
    assert end[-1].code == -signal.SIGKILL
    rendezvous.close()


def test_an_engine_process_that_is_stopped_while_it_opens_a_model_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look_for(seconds: int) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        for _ in range(seconds):
            now[0] += 1
            process.end_if_stuck()
        monkeypatch.undo()

    now, rendezvous = [time.monotonic()], Rendezvous()
    process = engine_process_that_sleeps(rendezvous)
    process.start()  # its promise is to be heard of within an hour
    assert process.process
    look_for(30)
    os.kill(process.process.pid, signal.SIGSTOP)
    os.waitpid(process.process.pid, os.WUNTRACED)
    look_for(10)
    assert process.ended() is None
    look_for(3)
    end: List[Optional[End]] = []
    wait_for(lambda: end.append(process.ended()) or end[-1])
    assert end[-1]
    assert end[-1].code == -signal.SIGKILL
    rendezvous.close()
