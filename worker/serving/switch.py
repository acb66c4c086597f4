"""The models of a worker: the one that serves, the former one while they are compared, those that leave.

change_to(choice) ── load ──> swap, between two pictures ──> the former one finishes ──> close it
control thread (`Commands.following`)                          decoders, engine           control thread
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import Callable, Iterator, List, Optional, Sequence

from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from wire.waiting import wait_until
from worker.serving.comparison import Comparison
from worker.serving.job import Job
from worker.serving.loaded import LoadedModel

log = logging.getLogger(__name__)

#: Seconds after which a load beside a model that serves is left behind: a download over a slow network and
#: TensorRT's building take a long while, and what takes longer hangs.
LOAD_TIMEOUT = 3600.0


class Switch:
    """Loads models, and sends each picture to the one in service.

    Attributes:
        serving: the model in service, once one is `opened`.
        comparison: runs the former model beside it, while the two are compared.
    """

    serving: LoadedModel
    comparison: Optional[Comparison] = None

    def __init__(
        self,
        load: Callable[[ModelChoice], LoadedModel],
        stop: threading.Event,
        load_timeout: float = LOAD_TIMEOUT,
    ) -> None:
        """Begin without a model; `opened` loads the first.

        Args:
            load: opens a model, its engine and its decoders.
            stop: set when the worker leaves, and nothing is to be waited for any more.
            load_timeout: seconds that a load may take while another model serves.
        """
        self._load = load
        self._stop = stop
        self._load_timeout = load_timeout
        self._open: List[LoadedModel] = []
        #: Held while a picture is submitted, and while the models are swapped.
        self._between_pictures = threading.Lock()

    @contextmanager
    def opened(self, *choices: ModelChoice) -> Iterator[None]:
        """Serve with the first of some models that can be loaded while the block lasts; then close all.

        Raises:
            Exception: what keeps the last of them from being loaded.
        """
        try:
            self.serving = self._open_first(choices)
            yield
        finally:
            for loaded in self._open:
                loaded.decoders.close()

    def replace(self, *choices: ModelChoice) -> None:
        """Serve with the first of some models that can be loaded, before there is any frame.

        Raises:
            Exception: what keeps the last of them from being loaded.
        """
        former, self.serving = self.serving, self._open_first(choices)
        former.decoders.close()
        self._open.remove(former)

    def stalled_for(self) -> float:
        """Seconds for which one of the models has had work, and done none of it."""
        return max(loaded.stalled_for() for loaded in list(self._open))

    def submit(self, job: Job, image: bytes) -> None:
        """Send a picture on its way through the model that serves now."""
        with self._between_pictures:
            if self.comparison is not None:
                job = self.comparison.take(job, image)
            self.serving.submit(job, image)

    def change_to(self, choice: ModelChoice, compare: bool) -> None:
        """Serve with another model; return once the former one is closed, or is there to be compared with.

        Raises:
            SettingsError: it serves already, alone, and was to be compared with the former one.
            NanofleetError: it cannot be loaded, or not in time; or the worker leaves while it is loaded, or
                while the former one finishes, when the new one serves already.
        """
        if compare and self.serving.is_of(choice) and self.comparison is None:
            raise SettingsError(f"{choice.model} serves here already: there is nothing to compare it with")
        # A model that is still there to be compared with is not loaded again: a roll-back takes no time.
        ready = [loaded for loaded in self._kept() if loaded.is_of(choice)]
        wanted = ready[0] if ready else self._start(self._loaded_in_time(choice))
        comparison = None
        if compare:
            comparison = self.comparison if wanted is self.serving else Comparison(self.serving)
        with self._between_pictures:
            self.serving, self.comparison = wanted, comparison
        for former in self._to_close():
            former.retire()
            self._wait(former.idle)
            former.decoders.close()
            self._open.remove(former)

    def _open_first(self, choices: Sequence[ModelChoice]) -> LoadedModel:
        for choice in choices[:-1]:
            try:
                return self._start(self._load(choice))
            except NanofleetError as error:
                log.error("%s: %s", choice.model, error)
            # The engine may lack an operator, say: the next choice is tried.
            except Exception:
                log.exception("%s cannot be loaded", choice.model)
        return self._start(self._load(choices[-1]))

    def _loaded_in_time(self, choice: ModelChoice) -> LoadedModel:
        """Load a model in a thread of its own, so that one that hangs there holds up no other command."""
        loaded: List[LoadedModel] = []
        failures: List[BaseException] = []

        def load() -> None:
            try:
                loaded.append(self._load(choice))
            except BaseException as error:  # noqa: BLE001 - carried to the caller
                failures.append(error)

        thread = threading.Thread(target=load, name="load", daemon=True)
        thread.start()
        if not wait_until(lambda: not thread.is_alive(), self._load_timeout):
            raise NanofleetError(
                f"{choice.model} was not loaded within {self._load_timeout:g} s. What hangs is left "
                "behind, and may keep a core busy until the worker is started again"
            )
        if failures:
            raise failures[0]
        return loaded[0]

    def _start(self, loaded: LoadedModel) -> LoadedModel:
        loaded.decoders.__enter__()
        self._open.append(loaded)
        return loaded

    def _kept(self) -> List[LoadedModel]:
        return [self.serving, self.comparison.former] if self.comparison else [self.serving]

    def _to_close(self) -> List[LoadedModel]:
        kept = self._kept()
        return [loaded for loaded in self._open if loaded not in kept]

    def _wait(self, event: threading.Event) -> None:
        def check() -> None:
            if self._stop.is_set():
                raise NanofleetError("the worker is leaving")

        wait_until(event.is_set, check=check)
