"""The table of commands: a new command is a new row.

From the table come `--help`, the settings that a file or a variable may hold, and what example.py and
completion.py print.
"""

from __future__ import annotations

import difflib
import importlib
import itertools
from typing import Any, Callable, Collection, Dict, List, NamedTuple, Sequence, Tuple, Type

from fleet.cameras.settings import (
    CameraListSettings,
    CameraRemoveSettings,
    CameraSetSettings,
    CameraShowSettings,
)
from fleet.commands.settings import CompletionSettings, ExampleSettings
from fleet.demo.settings import DemoSettings
from fleet.models.settings import (
    DownloadSettings,
    ExportSettings,
    ListSettings,
    ResetSettings,
    ShowSettings,
    UseSettings,
)
from fleet.observer.settings import ObserveSettings
from fleet.provision.settings import ProvisionSettings
from fleet.results.settings import ResultsSettings
from fleet.spool.settings import SpoolDropSettings, SpoolListSettings, SpoolRetrySettings
from fleet.workers.settings import ForgetSettings, WorkersSettings
from publisher.settings import PublishSettings
from wire.errors import SettingsError
from wire.settings import Settings
from worker.settings import ClassifySettings, WorkerSettings


class Command(NamedTuple):
    """A subcommand. Its settings are light to import; its runner may not be, and is imported last."""

    settings: Type[Settings]
    #: MODULE:FUNCTION, which takes the settings and returns the exit code.
    runner: str
    summary: str
    #: The extra of pip that brings the modules it needs beyond the base.
    extra: str = ""
    #: Whether it cleans up, or sums up, after Ctrl-C, which then raises KeyboardInterrupt in it.
    cleans_up: bool = False

    def load_runner(self) -> Callable[[Any], int]:
        """Import the runner, and all that it imports: PyTorch, for some."""
        module, _, function = self.runner.partition(":")
        run: Callable[[Any], int] = getattr(importlib.import_module(module), function)
        return run


# fmt: off
COMMANDS: Dict[str, Command] = {
    "demo": Command(DemoSettings, "fleet.demo.run:demo",
        "show the whole fleet at work, on this machine", "demo", cleans_up=True),
    "worker": Command(WorkerSettings, "fleet.worker:run_worker",
        "classify frames from a broker", "worker"),
    "publish": Command(PublishSettings, "publisher.publish:publish",
        "send images to a broker, and show the answers", "camera", cleans_up=True),
    "classify": Command(ClassifySettings, "fleet.classify:classify",
        "classify images here, without a broker", "worker"),
    "workers": Command(WorkersSettings, "fleet.workers.list:workers",
        "who is there, and how each is", cleans_up=True),
    "workers forget": Command(ForgetSettings, "fleet.workers.forget:forget",
        "remove what is kept of workers that are gone", cleans_up=True),
    "cameras list": Command(CameraListSettings, "fleet.cameras.list:list_cameras",
        "what each camera sees, and how it is"),
    "cameras show": Command(CameraShowSettings, "fleet.cameras.list:show",
        "one camera, with its settings"),
    "cameras set": Command(CameraSetSettings, "fleet.cameras.set:set_camera",
        "change a camera's settings"),
    "cameras remove": Command(CameraRemoveSettings, "fleet.cameras.remove:remove",
        "remove all that is kept of a camera"),
    "observe": Command(ObserveSettings, "fleet.observer.observe:observe",
        "keep each camera's state, for Home Assistant and others"),
    "results": Command(ResultsSettings, "fleet.results.run:results",
        "show what is answered, live", cleans_up=True),
    "models list": Command(ListSettings, "fleet.models.list:list_models",
        "the models that can be run", "worker"),
    "models show": Command(ShowSettings, "fleet.models.list:show",
        "one model and its weights", "worker"),
    "models download": Command(DownloadSettings, "fleet.models.list:download",
        "fetch weights ahead", "worker", cleans_up=True),
    "models export": Command(ExportSettings, "fleet.models.export:export",
        "write a model as an ONNX file, for machines without PyTorch", "worker", cleans_up=True),
    "models use": Command(UseSettings, "fleet.models.use:use",
        "change the model of a running fleet", cleans_up=True),
    "models reset": Command(ResetSettings, "fleet.models.use:reset",
        "let workers go back to their own model", cleans_up=True),
    "spool list": Command(SpoolListSettings, "fleet.spool.run:list_frames",
        "frames of publish that have no answer"),
    "spool retry": Command(SpoolRetrySettings, "fleet.spool.run:retry",
        "let frames wait again that the broker has refused"),
    "spool drop": Command(SpoolDropSettings, "fleet.spool.run:drop_frames",
        "give frames up"),
    "provision": Command(ProvisionSettings, "fleet.provision.run:provision",
        "create certificates, passwords and an ACL for Mosquitto", "provision"),
    "settings": Command(ExampleSettings, "fleet.commands.example:print_example",
        "print a command's settings as a file to begin with"),
    "completion": Command(CompletionSettings, "fleet.commands.completion:print_completion",
        "print what lets a shell complete nanofleet's commands and flags"),
}
# fmt: on


def find(name: str, following: Sequence[str] = ()) -> Command:
    """The command of this name.

    Args:
        name: of one word or two.
        following: the arguments that follow it.

    Raises:
        SettingsError: there is none; the text names the one that may be meant.
    """
    if name in COMMANDS:
        return COMMANDS[name]
    words = [*name.split(), *(word for word in following[:1] if not word.startswith("-"))]
    meant = _meant(words[:2])
    of_group = [each for each in COMMANDS if each.split()[:1] == words[:1]]
    hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(of_group or COMMANDS)}"
    raise SettingsError(f"there is no such command; {hint}")


def _meant(words: Sequence[str]) -> str:
    """The command, or the group of commands, that is closest to two words or less; empty if none is close."""
    if not words:
        return ""
    first = _closest(words[0], {name.split()[0] for name in COMMANDS}, 0.6)
    if len(words) > 1:
        seconds = {name.split()[1] for name in COMMANDS if name.startswith(f"{first} ")}
        second = _closest(words[1], seconds, 0.5)
        if second:
            return f"{first} {second}"
    return "" if first == words[0] else first


def _closest(word: str, choices: Collection[str], alike: float) -> str:
    return next(iter(difflib.get_close_matches(word, choices, n=1, cutoff=alike)), "")


def split(arguments: Sequence[str]) -> Tuple[str, List[str]]:
    """The command's name, of one word or two, and what follows it."""
    words = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments[:2]))
    if words and not is_group(words[0]):
        del words[1:]
    return " ".join(words), list(arguments[len(words) :])


def is_group(word: str) -> bool:
    """Whether commands of two words begin with this one; no word is the group of all."""
    return any(name.startswith(f"{word} " if word else "") for name in COMMANDS)


def usage(group: str = "") -> str:
    """The commands of a group, or all, each with its summary."""
    prefix = f"{group} " if group else ""
    lines = [f"  {name:<17}{each.summary}" for name, each in COMMANDS.items() if name.startswith(prefix)]
    return "\n".join(
        [
            f"usage: nanofleet {prefix}COMMAND [--help] …",
            "",
            "A fleet of workers that classify images arriving over MQTT.",
            "",
            *lines,
            "",
            "nanofleet help COMMAND, or COMMAND --help, explains each. There is also nanofleet --version.",
        ]
    )
