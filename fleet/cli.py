"""The nanofleet command: finds the subcommand, and turns every error into one message and an exit code.

0    all went well                     3    the broker refused the connection
1    not all went well                 4    another member runs under this id
2    a setting is wrong                130  Ctrl-C
"""

from __future__ import annotations

import difflib
import logging
import os
import signal
import sys
from typing import Callable, Dict, NamedTuple, NoReturn, Optional, Sequence, Set, Type

import wire
from fleet.environment import check_variables, drop_service_links
from fleet.logs import configure_logging
from wire.errors import NanofleetError, SettingsError
from wire.printable import printable
from wire.settings import PASSWORD_VARIABLE, Settings

#: Modules that come with an extra, and that extra.
_EXTRAS = {
    "filelock": "worker",
    "onnxruntime": "worker",
    "onnx": "worker",
    "onnxscript": "worker",
    "safetensors": "worker",
    "torch": "worker",
    "torchvision": "worker",
    "numpy": "worker",
    "PIL": "worker",
    "prometheus_client": "worker",
    "cryptography": "provision",
    "iotcore": "demo",
    "skimage": "demo",
}


class Command(NamedTuple):
    """A subcommand: its settings are light to import, what it runs may not be."""

    summary: str
    settings: Callable[[], Type[Settings]]
    run: Callable[[Settings], int]


def _worker_settings() -> Type[Settings]:
    from worker.settings import WorkerSettings

    return WorkerSettings


def _run_worker(settings: Settings) -> int:
    from fleet.embedded import with_broker
    from worker.service import run
    from worker.settings import WorkerSettings

    assert isinstance(settings, WorkerSettings)
    with with_broker(settings) as ready:
        return run(ready)


def _publish_settings() -> Type[Settings]:
    from publisher.settings import PublishSettings

    return PublishSettings


def _run_publish(settings: Settings) -> int:
    from publisher.publish import publish
    from publisher.settings import PublishSettings

    assert isinstance(settings, PublishSettings)
    _raise_on_ctrl_c()
    return publish(settings)


def _classify_settings() -> Type[Settings]:
    from worker.settings import ClassifySettings

    return ClassifySettings


def _run_classify(settings: Settings) -> int:
    from worker.classify import classify
    from worker.settings import ClassifySettings

    assert isinstance(settings, ClassifySettings)
    if not settings.json_:
        logging.getLogger("worker").setLevel(logging.INFO)  # an export takes a while
    return classify(settings)


def _list_settings() -> Type[Settings]:
    from fleet.models_settings import ListSettings

    return ListSettings


def _run_list(settings: Settings) -> int:
    from fleet.models import list_models
    from fleet.models_settings import ListSettings

    assert isinstance(settings, ListSettings)
    return list_models(settings)


def _show_settings() -> Type[Settings]:
    from fleet.models_settings import ShowSettings

    return ShowSettings


def _run_show(settings: Settings) -> int:
    from fleet.models import show
    from fleet.models_settings import ShowSettings

    assert isinstance(settings, ShowSettings)
    return show(settings)


def _download_settings() -> Type[Settings]:
    from fleet.models_settings import DownloadSettings

    return DownloadSettings


def _run_download(settings: Settings) -> int:
    from fleet.models import download
    from fleet.models_settings import DownloadSettings

    assert isinstance(settings, DownloadSettings)
    _raise_on_ctrl_c()
    logging.getLogger("worker").setLevel(logging.INFO)  # the progress, where there is no terminal
    return download(settings)


def _use_settings() -> Type[Settings]:
    from fleet.use_settings import UseSettings

    return UseSettings


def _run_use(settings: Settings) -> int:
    from fleet.use import use
    from fleet.use_settings import UseSettings

    assert isinstance(settings, UseSettings)
    _raise_on_ctrl_c()
    return use(settings)


def _reset_settings() -> Type[Settings]:
    from fleet.use_settings import ResetSettings

    return ResetSettings


def _run_reset(settings: Settings) -> int:
    from fleet.use import reset
    from fleet.use_settings import ResetSettings

    assert isinstance(settings, ResetSettings)
    _raise_on_ctrl_c()
    return reset(settings)


def _provision_settings() -> Type[Settings]:
    from fleet.provision_settings import ProvisionSettings

    return ProvisionSettings


def _run_provision(settings: Settings) -> int:
    from fleet.provision import provision
    from fleet.provision_settings import ProvisionSettings

    assert isinstance(settings, ProvisionSettings)
    return provision(settings)


def _demo_settings() -> Type[Settings]:
    from fleet.demo_settings import DemoSettings

    return DemoSettings


def _run_demo(settings: Settings) -> int:
    from fleet.demo import demo
    from fleet.demo_settings import DemoSettings

    assert isinstance(settings, DemoSettings)
    _raise_on_ctrl_c()
    # The demo's workers have a session of their own, and would live on without it.
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda number, frame: sys.exit(128 + number))
    return demo(settings)


def _raise_on_ctrl_c() -> None:
    """From here on there is something to clean up or to sum up."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


COMMANDS: Dict[str, Command] = {
    "demo": Command("show the whole fleet at work, on this machine", _demo_settings, _run_demo),
    "worker": Command("classify frames from a broker", _worker_settings, _run_worker),
    "publish": Command("send images to a broker, and show the answers", _publish_settings, _run_publish),
    "classify": Command("classify images here, without a broker", _classify_settings, _run_classify),
    "models list": Command("the models that can be run", _list_settings, _run_list),
    "models show": Command("one model and its weights", _show_settings, _run_show),
    "models download": Command("fetch weights ahead", _download_settings, _run_download),
    "models use": Command("change the model of a running fleet", _use_settings, _run_use),
    "models reset": Command("let workers go back to their own model", _reset_settings, _run_reset),
    "provision": Command(
        "create certificates, passwords and an ACL for Mosquitto", _provision_settings, _run_provision
    ),
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"nanofleet {wire.__version__}")
        return 0
    words = 2 if _is_group(arguments[0]) else 1
    name, rest = " ".join(arguments[:words]), arguments[words:]
    if name in (arguments[0], f"{arguments[0]} -h", f"{arguments[0]} --help") and words == 2:
        print(_usage(f"{arguments[0]} "))
        return 0 if len(arguments) > 1 else 2
    # A worker's log is its only voice; the other commands speak on stdout.
    level = logging.INFO if name == "worker" else logging.WARNING
    configure_logging(level)
    try:
        command = _find(name)
        _check_environment()
        settings = command.settings().from_command_line(f"nanofleet {name}", rest)
        return command.run(settings)
    except NanofleetError as error:
        lines = "\n".join(printable(line) for line in str(error).split("\n"))
        print(f"nanofleet {name}: {lines}", file=sys.stderr)
        if error.ends_process:
            end_at_once(error.exit_code)
        return error.exit_code
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        print(
            f"nanofleet {name}: {error.name} is not installed: pip install 'nanofleet[{extra}]'",
            file=sys.stderr,
        )
        return SettingsError.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has left, as `head` does; Python must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def end_at_once(code: int) -> NoReturn:
    """End the process with what it has said so far, and without taking the interpreter down."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _is_group(word: str) -> bool:
    """Whether a word is the first of commands of two words."""
    return any(name.startswith(f"{word} ") for name in COMMANDS)


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
            "nanofleet COMMAND --help explains each. nanofleet --version names the version.",
        ]
    )


def _find(name: str) -> Command:
    if name in COMMANDS:
        return COMMANDS[name]
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(COMMANDS)}"
    raise SettingsError(f"there is no such command; {hint}")


def _check_environment() -> None:
    drop_service_links(os.environ)
    known: Set[str] = {PASSWORD_VARIABLE}
    for command in COMMANDS.values():
        known |= command.settings().variables()
    check_variables(os.environ, known)
