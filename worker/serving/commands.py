"""Follows the commands that name a model: loads it beside the one that serves, then swaps.

first_choices ── at the start: the command in force, the last one that was served, the settings' own

network thread                          control thread (`Commands.following`)
receive ── the command in force ──────> load (download, export, warm up)
                                        swap ── frames go to the new one from here on
                                        wait until the old one has answered its frames, then close it

The command for this worker goes before the fleet's; without either, the worker's own settings hold. A
model that fails to load changes nothing but the status, also over a restart: the last one that was served is
noted on disk.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from pathlib import Path
from typing import (
    Callable,
    Dict,
    Iterator,
    List,
    Literal,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from wire.errors import DecodeError, NanofleetError, SettingsError
from wire.lengths import MAX_NAME, MAX_SENTENCE
from wire.messages import Change, ModelCommand
from wire.model_choice import ModelChoice
from wire.printable import cut
from worker.serving.last_served import LastServed

log = logging.getLogger(__name__)


class InForce(NamedTuple):
    """A command as it stands on its topic; `fault` says why it cannot be followed."""

    topic: str
    command: ModelCommand
    fault: str = ""


class Commands:
    """The model commands of one worker, and how it stands with them."""

    def __init__(
        self,
        topics: Sequence[str],
        own: ModelChoice,
        folder: Path,
        note: Path,
        *,
        change_to: Callable[[ModelChoice, bool], None],
    ) -> None:
        """Begin without a command in force.

        Args:
            topics: the control topics to follow; the first that holds a command is in force.
            own: the choice of the worker's settings.
            folder: where the files that a command names are looked for.
            note: the file that keeps the last command's choice that was served.
            change_to: loads a choice and swaps to it, if it is not the one that serves; its second argument
                says whether to compare with the former one. In the control thread; raises what prevents it.
        """
        self.topics = topics
        self.change: Optional[Change] = None
        self._own = own
        self._folder = folder
        self._last = LastServed(note)
        self._change_to = change_to
        self._commands: Dict[str, InForce] = {}
        #: Topics whose command was read before there was a session that receives when it is taken back.
        self._read_ahead: Set[str] = set()
        # None ends the thread; (None,) says that no command is in force.
        self._wanted: queue.SimpleQueue[Optional[Tuple[Optional[InForce]]]] = queue.SimpleQueue()

    def first_choices(self, commands: Optional[Mapping[str, bytes]]) -> List[ModelChoice]:
        """The choices to serve at the start, best first: where one cannot be loaded, the next is tried.

        Args:
            commands: the retained payloads by topic; None if there is no broker to read them from yet, and
                the last command is likely to hold still.
        """
        for topic, payload in (commands or {}).items():
            self.receive(topic, payload)
        self._read_ahead = set(commands or {})
        wanted = self._in_force()
        if commands is not None and wanted is None:
            self._last.forget()
        choices = []
        # A model to be compared with the former one is loaded beside it.
        if wanted is not None and not wanted.fault and not wanted.command.compare:
            with contextlib.suppress(SettingsError):  # reported when it is followed
                choices.append(self._confined(wanted.command.choice))
        # A note that cannot be removed must not come back.
        last = None if commands is not None and wanted is None else self._last.read()
        return list(dict.fromkeys([*choices, *([last] if last else []), self._own]))

    def receive(self, topic: str, payload: bytes) -> None:
        """A command has come, come again, or been taken back."""
        self._read_ahead.discard(topic)
        before = self._in_force()
        if not payload:
            self._commands.pop(topic, None)
        else:
            self._commands[topic] = _read(topic, payload)
        now = self._in_force()
        if now != before:
            self._wanted.put((now,))

    def all_received(self) -> None:
        """A new session has received what is retained: what did not come again was taken back meanwhile."""
        for topic in list(self._read_ahead):
            self.receive(topic, b"")

    @property
    def failed(self) -> bool:
        """Whether the command in force could not be followed, so that another model serves."""
        return self.change is not None and self.change.state == "failed"

    def _in_force(self) -> Optional[InForce]:
        return next((self._commands[topic] for topic in self.topics if topic in self._commands), None)

    @contextlib.contextmanager
    def following(self, report: Callable[[], None]) -> Iterator[None]:
        """Follow the commands while the block lasts.

        Args:
            report: called in the control thread when something in the status has changed.
        """
        thread = threading.Thread(
            target=self._follow_until_closed, args=(report,), name="control", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self._wanted.put(None)
            thread.join(timeout=5)

    def _follow_until_closed(self, report: Callable[[], None]) -> None:
        while True:
            wanted = self._wanted.get()
            while wanted is not None and not self._wanted.empty():  # of several, only the last matters
                wanted = self._wanted.get()
            if wanted is None:
                return
            self._obey(wanted[0], report)

    def _obey(self, wanted: Optional[InForce], report: Callable[[], None]) -> None:
        if wanted is not None:  # else the status speaks of what was taken back until its model is gone
            self._note(wanted, "loading")
            report()
        self._note(wanted, *self._outcome(wanted))
        report()

    def _outcome(self, wanted: Optional[InForce]) -> Tuple[Literal["serving", "failed"], str]:
        """Follow a command, and say what came of it: the state of the Change, and why if it failed."""
        try:
            self._follow(wanted)
        except NanofleetError as error:
            why = " ".join(str(error).split())  # for a line of the log, and of a table
            log.error("the model stays as it is: %s", why)
            return "failed", why
        # Out of memory, an operator that the engine lacks: whatever it is, the old model serves on.
        except Exception as error:
            log.exception("the model stays as it is")
            return "failed", f"{type(error).__name__}: {error}"
        return "serving", ""

    def _follow(self, wanted: Optional[InForce]) -> None:
        if wanted is None:
            log.info("no model command any more: back to %s, as set", self._own.model)
            self._change_to(self._own, False)
            self._last.forget()
            return
        log.info("%s: run %s instead of %s", wanted.topic, wanted.command.choice.model, self._own.model)
        if wanted.fault:
            raise SettingsError(wanted.fault)
        choice = self._confined(wanted.command.choice)
        self._change_to(choice, wanted.command.compare)
        if not wanted.command.compare:
            self._last.keep(choice)

    def _confined(self, choice: ModelChoice) -> ModelChoice:
        """A client that may publish on the control topic must not read files all over this machine."""
        try:
            return choice.below(self._folder)
        except ValueError as error:
            raise SettingsError(str(error)) from None

    def _note(
        self, wanted: Optional[InForce], state: Literal["loading", "serving", "failed"], detail: str = ""
    ) -> None:
        self.change = wanted and Change(
            command=wanted.command.id,
            topic=wanted.topic,
            model=cut(wanted.command.choice.model, MAX_NAME),
            instead_of=cut(self._own.model, MAX_NAME),
            state=state,
            detail=cut(detail, MAX_SENTENCE),
        )


def _read(topic: str, payload: bytes) -> InForce:
    try:
        return InForce(topic, ModelCommand.decode(payload))
    except DecodeError as error:
        unreadable = ModelCommand(id="", choice=ModelChoice(model="?"))
        return InForce(topic, unreadable, str(error))
