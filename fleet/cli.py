"""The nanofleet command: finds the subcommand, and turns every error into one message and an exit code.

0    all went well                     3    the broker refused the connection
1    not all went well                 4    another member runs under this id
2    a setting is wrong                130  Ctrl-C (143: SIGTERM)
"""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
from typing import Any, Callable, Dict, List, NamedTuple, NoReturn, Optional, Sequence, Set, Tuple, Type

import wire
from fleet.console import leave_reader
from fleet.environment import check_variables, drop_service_links
from fleet.logs import StderrHandler, configure_logging
from wire.broker import BrokerSettings
from wire.config_file import Layout
from wire.errors import NanofleetError, SettingsError
from wire.install import how_to_install
from wire.printable import first_line
from wire.settings import PASSWORD_VARIABLE, Settings


class Command(NamedTuple):
    """A subcommand. Its settings are light to import; what it runs may not be, and is imported last."""

    summary: str
    settings_name: str
    run_name: str
    #: What of pip brings the modules that it needs beyond the base.
    extra: str = ""
    #: Whether there is something to clean up or to sum up after Ctrl-C, once it runs.
    cleans_up: bool = False

    @property
    def settings(self) -> Type[Settings]:
        """The class of its settings."""
        settings: Type[Settings] = _named(self.settings_name)
        return settings

    @property
    def run(self) -> Callable[[Any], int]:
        """What it runs: takes the settings, returns the exit code."""
        run: Callable[[Any], int] = _named(self.run_name)
        return run


COMMANDS: Dict[str, Command] = {
    "demo": Command(
        "show the whole fleet at work, on this machine",
        *("fleet.demo.settings:DemoSettings", "fleet.demo.run:demo", "demo", True),
    ),
    "worker": Command(
        "classify frames from a broker",
        *("worker.settings:WorkerSettings", "fleet.run_worker:run_worker", "worker"),
    ),
    "publish": Command(
        "send images to a broker, and show the answers",
        *("publisher.settings:PublishSettings", "publisher.publish:publish", "camera", True),
    ),
    "classify": Command(
        "classify images here, without a broker",
        *("worker.settings:ClassifySettings", "fleet.classify:classify", "worker"),
    ),
    "workers": Command(
        "who is there, and how each is",
        *("fleet.workers.settings:WorkersSettings", "fleet.workers.list:workers", "", True),
    ),
    "workers forget": Command(
        "remove what is kept of workers that are gone",
        *("fleet.workers.settings:ForgetSettings", "fleet.workers.forget:forget", "", True),
    ),
    "cameras list": Command(
        "what each camera sees, and how it is",
        *("fleet.cameras.settings:ListSettings", "fleet.cameras.list:list_cameras"),
    ),
    "cameras show": Command(
        "one camera, with its settings",
        *("fleet.cameras.settings:ShowSettings", "fleet.cameras.list:show"),
    ),
    "cameras set": Command(
        "change a camera's settings",
        *("fleet.cameras.settings:SetSettings", "fleet.cameras.set:set_camera"),
    ),
    "cameras remove": Command(
        "remove all that is kept of a camera",
        *("fleet.cameras.settings:RemoveSettings", "fleet.cameras.remove:remove"),
    ),
    "observe": Command(
        "keep each camera's state, for Home Assistant and others",
        *("fleet.observer.settings:ObserveSettings", "fleet.observer.observe:observe"),
    ),
    "results": Command(
        "show what is answered, live",
        *("fleet.results_settings:ResultsSettings", "fleet.results:results", "", True),
    ),
    "models list": Command(
        "the models that can be run",
        *("fleet.models.settings:ListSettings", "fleet.models.list:list_models", "worker"),
    ),
    "models show": Command(
        "one model and its weights",
        *("fleet.models.settings:ShowSettings", "fleet.models.list:show", "worker"),
    ),
    "models download": Command(
        "fetch weights ahead",
        *("fleet.models.settings:DownloadSettings", "fleet.models.list:download", "worker", True),
    ),
    "models export": Command(
        "write a model as an ONNX file, for machines without PyTorch",
        *("fleet.models.settings:ExportSettings", "fleet.models.export:export", "worker", True),
    ),
    "models use": Command(
        "change the model of a running fleet",
        *("fleet.models.use_settings:UseSettings", "fleet.models.use:use", "", True),
    ),
    "models reset": Command(
        "let workers go back to their own model",
        *("fleet.models.use_settings:ResetSettings", "fleet.models.use:reset", "", True),
    ),
    "spool list": Command(
        "frames of publish that have no answer",
        *("fleet.spool_settings:SpoolListSettings", "fleet.spool:list_frames"),
    ),
    "spool retry": Command(
        "let frames wait again that the broker has refused",
        *("fleet.spool_settings:SpoolRetrySettings", "fleet.spool:retry"),
    ),
    "spool drop": Command(
        "give frames up",
        *("fleet.spool_settings:SpoolDropSettings", "fleet.spool:drop_frames"),
    ),
    "provision": Command(
        "create certificates, passwords and an ACL for Mosquitto",
        *("fleet.provision.settings:ProvisionSettings", "fleet.provision.run:provision", "provision"),
    ),
    "settings": Command(
        "print a command's settings as a file to begin with",
        *("fleet.example_settings:ExampleSettings", "fleet.example:print_example"),
    ),
    "completion": Command(
        "print what lets a shell complete nanofleet's commands and flags",
        *("fleet.completion_settings:CompletionSettings", "fleet.completion:print_completion"),
    ),
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if arguments[:1] == ["--version"]:
        print(f"nanofleet {wire.__version__}")
        return 0
    name, rest = _split(arguments)
    if name not in COMMANDS and _is_group(name) and rest[:1] in ([], ["-h"], ["--help"]):
        print(_usage(f"{name} " if name else ""))
        return 0 if rest else 2
    log = StderrHandler()  # until the settings say which
    settings: Optional[Settings] = None
    try:
        command = _find(name)
        _check_environment()
        settings = command.settings.from_command_line(f"nanofleet {name}", rest, layout())
        log = configure_logging(settings.level, settings.log_format)
        return _run(command, settings)
    except NanofleetError as error:
        message = settings.blame(str(error)) if settings else str(error)
        log.end_with(f"nanofleet {name or arguments[0]}", message)
        if error.ends_process:
            end_at_once(error.exit_code)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        leave_reader()
        return 1


def end_at_once(code: int) -> NoReturn:
    """End the process with what it has said so far, and without taking the interpreter down."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(command: Command, settings: Settings) -> int:
    try:
        run = _imported(command)
        if command.cleans_up and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run(settings)
    except ModuleNotFoundError as error:
        if not command.extra or (error.name or "").split(".")[0] in ("wire", "publisher", "worker", "fleet"):
            raise
        raise SettingsError(f"{error.name} is not installed: {how_to_install(command.extra)}") from None


def _imported(command: Command) -> Callable[[Any], int]:
    try:
        return command.run
    except ModuleNotFoundError:
        raise
    except Exception as error:  # OSError: a library is not there; a torchvision for another PyTorch: anything
        what = f"{type(error).__name__}: {first_line(error)}"
        raise SettingsError(f"a package that it needs cannot be imported: {what}") from error


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _split(arguments: Sequence[str]) -> Tuple[str, List[str]]:
    """The command's name, of one word or two, and what follows it."""
    length = 0
    while length < min(2, len(arguments)) and not arguments[length].startswith("-"):
        length += 1
        if not _is_group(arguments[0]):
            break
    return " ".join(arguments[:length]), list(arguments[length:])


def _is_group(word: str) -> bool:
    """Whether commands of two words begin with this one; no word is the group of all."""
    return any(name.startswith(f"{word} " if word else "") for name in COMMANDS)


def _usage(group: str = "") -> str:
    shown = [(name, command) for name, command in COMMANDS.items() if name.startswith(group)]
    lines = [f"  {name:<17}{command.summary}" for name, command in shown]
    return "\n".join(
        [
            f"usage: nanofleet {group}COMMAND [--help] …",
            "",
            "A fleet of workers that classify images arriving over MQTT.",
            "",
            *lines,
            "",
            "nanofleet help COMMAND, or COMMAND --help, explains each. There is also nanofleet --version.",
        ]
    )


def _find(name: str) -> Command:
    if name in COMMANDS:
        return COMMANDS[name]
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(COMMANDS)}"
    raise SettingsError(f"there is no such command; {hint}")


def layout() -> Layout:
    """What a file for all commands may hold."""
    commands = {name: command.settings.file_keys() for name, command in COMMANDS.items()}
    return Layout(commands, shared=BrokerSettings.file_keys())


def _check_environment() -> None:
    drop_service_links(os.environ)
    known: Set[str] = {PASSWORD_VARIABLE}
    for command in COMMANDS.values():
        known |= command.settings.variables()
    check_variables(os.environ, known)
