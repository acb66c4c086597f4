"""The nanofleet command: runs a subcommand, and turns every error into one message and an exit code.

0    all went well                     3    the broker refused the connection
1    not all went well                 4    another member runs under this id
2    a setting is wrong                130  Ctrl-C (129: the terminal's end, 143: SIGTERM)
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Callable, NoReturn, Optional, Sequence, Set

import wire
from fleet import OUR_PACKAGES
from fleet.commands import COMMANDS, Command, find, is_group, split, usage
from fleet.environment import check_variables, drop_service_links
from fleet.logs import StderrHandler, configure_logging
from fleet.output import OutputFailed, leave_reader
from wire.broker import BrokerSettings
from wire.config_file import Layout
from wire.errors import NanofleetError, SettingsError
from wire.install import how_to_install
from wire.printable import first_line
from wire.settings import PASSWORD_VARIABLE, Settings


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if arguments[:1] == ["--version"]:
        print(f"nanofleet {wire.__version__}")
        return 0
    name, rest = split(arguments)
    if name not in COMMANDS and is_group(name) and rest[:1] in ([], ["-h"], ["--help"]):
        print(usage(name))
        return 0 if rest else 2
    log = StderrHandler()  # until the settings are read
    settings: Optional[Settings] = None
    try:
        command = find(name, rest)
        _check_environment()
        settings = command.settings.from_command_line(f"nanofleet {name}", rest, layout())
        log = configure_logging(settings.level, settings.log_format)
        code = _run(command, settings)
        sys.stdout.flush()
        return code
    except NanofleetError as error:
        if isinstance(error, OutputFailed):
            leave_reader()
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


def _run(command: Command, settings: Settings) -> int:
    try:
        run = _imported(command)
        if command.cleans_up and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            # `fleet.__main__` has made Ctrl-C end the process on the spot; from here on the command has
            # something to lose.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run(settings)
    except ModuleNotFoundError as error:
        if not command.extra or (error.name or "").split(".")[0] in OUR_PACKAGES:
            raise
        raise SettingsError(f"{error.name} is not installed: {how_to_install(command.extra)}") from None


def _imported(command: Command) -> Callable[[Any], int]:
    try:
        return command.load_runner()
    except ModuleNotFoundError:
        raise
    # A missing library raises OSError; a torchvision made for another PyTorch raises anything.
    except Exception as error:
        what = f"{type(error).__name__}: {first_line(error)}"
        raise SettingsError(f"a package that it needs cannot be imported: {what}") from error


def end_at_once(code: int) -> NoReturn:
    """End the process with what it has printed so far, and without taking the interpreter down."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def layout() -> Layout:
    """The keys of a --config file that all commands share."""
    commands = {name: command.settings.file_keys() for name, command in COMMANDS.items()}
    return Layout(commands, shared=BrokerSettings.file_keys())


def _check_environment() -> None:
    drop_service_links(os.environ)
    known: Set[str] = {PASSWORD_VARIABLE}
    for command in COMMANDS.values():
        known |= command.settings.variables()
    check_variables(os.environ, known)
