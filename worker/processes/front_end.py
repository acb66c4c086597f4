"""A front end, as the supervisor sees it: a process, and those that follow it, and what they notify."""

from __future__ import annotations

from worker import service
from worker.engines.shared.channel import Rendezvous
from worker.processes.member import Member
from worker.processes.notices import Notices
from worker.processes.roles import front_end
from worker.settings import WorkerSettings


class FrontEnd(Member):
    """A front end, and what it notifies."""

    def __init__(self, settings: WorkerSettings, rendezvous: Rendezvous, beside: service.Beside) -> None:
        assert settings.worker_id
        self.notices = Notices()
        self.is_ready = self.is_alive = False
        super().__init__(settings.worker_id, front_end(settings, rendezvous, self.notices, beside))

    def start(self) -> None:
        """Start a process, of which nothing is known yet."""
        self.notices.read()
        self.is_ready = self.is_alive = False
        super().start()

    def read_notices(self) -> None:
        """Note what it has notified since."""
        found = self.notices.read()
        self.is_ready = self.is_ready or "READY=1" in found
        self.is_alive = self.is_alive or "WATCHDOG=1" in found
