"""What the processes of a worker do: run the models, or be a front end."""

from __future__ import annotations

import functools
import logging
import signal
import threading

from wire.errors import NanofleetError
from wire.model_choice import ModelChoice
from wire.printable import cut
from wire.signals import ENDS
from worker import service
from worker.engines.opened import Opened
from worker.engines.select import best_batch, runs_on_cpu
from worker.engines.shared.alarm import STALLED
from worker.engines.shared.channel import Rendezvous
from worker.engines.shared.engine import open_shared
from worker.engines.shared.pulse import Pulse
from worker.engines.shared.server import serve
from worker.life import Life
from worker.processes.forked import Report, Work
from worker.processes.notices import Notices
from worker.serving.open import open_engine
from worker.settings import WorkerSettings

#: The signals by which the supervisor has a front end leave, and leave at once. What the system sends to all
#: processes of a terminal or a service must not count beside them.
LEAVE, LEAVE_AT_ONCE = signal.SIGUSR1, signal.SIGUSR2
#: Characters of an error, at most: a report has to fit into a pipe, because nobody reads it before the end.
_LONGEST = 4000


def engine_process(settings: WorkerSettings, rendezvous: Rendezvous, pulse: Pulse) -> Work:
    """Run the models for all front ends; reports `max_batch` and `on_cpu` once it can."""

    def work(report: Report) -> int:
        # Not blocked, as they are here: processes that export or try a model inherit that, and need them.
        for signum in ENDS:
            signal.signal(signum, signal.SIG_IGN)
        signal.signal(STALLED, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*ENDS, STALLED})
        _begin_lines_with("engine process")
        settled = settings
        if not settings.max_batch:
            suits = best_batch(settings.choice, settings.engine, settings.device)
            settled = settings.model_copy(update={"max_batch": suits})
        on_cpu = runs_on_cpu(settings.choice, settings.engine, settings.device)
        report(max_batch=settled.max_batch, on_cpu=on_cpu)
        never = threading.Event()

        def open_it(choice: ModelChoice) -> Opened:
            return open_engine(choice, settled, never)

        serve(rendezvous, open_it, settled.max_batch, settled.stall_timeout, pulse)

    return _reporting(work)


def front_end(
    settings: WorkerSettings, rendezvous: Rendezvous, notices: Notices, beside: service.Beside
) -> Work:
    """Be a whole worker but for the engine; reports `left`, and whether it `restarts`, at the end."""

    def work(report: Report) -> int:
        assert settings.worker_id
        _begin_lines_with(settings.worker_id)
        notices.be_notified()
        life = Life()
        code = service.run(
            settings,
            life,
            beside,
            open_it=lambda choice, _, stop: open_shared(rendezvous, choice),
            heeded=(LEAVE, LEAVE_AT_ONCE),
        )
        report(left=True, restarts=life.restarts)
        return code

    return _reporting(work)


def _reporting(work: Work) -> Work:
    """The same work, that reports the `error` which is for the user."""

    @functools.wraps(work)
    def reporting(report: Report) -> int:
        try:
            return work(report)
        except NanofleetError as error:
            report(error=cut(str(error), _LONGEST))
            return error.exit_code
        except KeyboardInterrupt:  # it was to leave at once
            report(left=True, restarts=False)
            return 1

    return reporting


def _begin_lines_with(name: str) -> None:
    """Have this process's lines in the log say whose they are."""

    def name_it(record: logging.LogRecord) -> bool:
        record.msg = f"{name}: {record.msg}"
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(name_it)
