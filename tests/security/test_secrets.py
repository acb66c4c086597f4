"""What must not be seen: passwords, wherever a command speaks; metrics, from another machine."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

import pytest

from fleet.cli import COMMANDS
from tests.exploit import attempts, hole, picture, reached
from tests.fleet.provisioned import Client, GuardedBroker, provision
from tests.fleets import Fleet
from tests.harness import MODEL, WorkerProcess, nanofleet, needs_root, wait_for
from tests.tiny import tiny_model
from wire.messages import Rejection, Result

#: Not in the image, nor in any message, by chance.
SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    """A broker on which everybody has the same password, so that there is one to look for."""
    folder = tmp_path_factory.mktemp("secrets")
    provision(folder / "fleet", "--camera", "door", "--worker", "nano-1", "--operator", "admin")
    for password in (folder / "fleet").glob("members/*/password"):
        password.write_text(SECRET + "\n")
    provision(folder / "fleet")
    started = GuardedBroker(folder, folder / "fleet")
    started.start()
    yield started
    started.stop()


@pytest.fixture
def flags(broker: GuardedBroker) -> Callable[[str], List[str]]:
    """The flags by which a member gets in, except for its password."""

    def of(name: str) -> List[str]:
        home = broker.fleet / "members" / name
        port = broker.inner_port if name in ("nano-1", "admin") else broker.port
        files = ("--ca-file", "ca.crt"), ("--cert-file", "client.crt"), ("--key-file", "client.key")
        paths = [word for flag, file in files for word in (flag, str(home / file))]
        return ["--broker", f"mqtts://{name}@localhost:{port}", *paths]

    return of


def said(*arguments: str, **variables: str) -> Tuple[int, str]:
    """The exit code of a command, and all that it has printed."""
    run = nanofleet(*arguments, env={**os.environ, **variables})
    return run.returncode, run.stdout + run.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_no_password(command: str) -> None:
    code, text = said(*command.split(), "--help", NANOFLEET_PASSWORD=SECRET)
    assert code == 0
    assert "--config" in text
    assert SECRET not in text


def test_commands_show_no_password(flags: Callable[[str], List[str]], photos: Path, tmp_path: Path) -> None:
    """Those that get in, and those that don't, whichever way the password has come."""
    image, door, admin = str(photos / "coffee.png"), flags("door"), flags("admin")
    right, wrong, unreadable = (tmp_path / name for name in ("right", "wrong", "unreadable"))
    right.write_text(SECRET)
    wrong.write_text(f"not {SECRET}")
    unreadable.write_bytes(SECRET.encode() + b"\xff")
    toml = tmp_path / "nanofleet.toml"
    toml.write_text(f'password = "{SECRET}"\n')
    quick = ["--no-spool", "--no-wait", "--camera", "door"]
    by_variable = {"NANOFLEET_PASSWORD": SECRET}
    in_url = f"mqtts://door:{SECRET}@localhost"
    cases: List[Tuple[int, str, List[str], Dict[str, str]]] = [
        (1, "for nobody 1", ["publish", image, *quick, *door], by_variable),
        (1, "for nobody 1", ["publish", image, *quick, *door, "--password-file", str(right)], {}),
        (3, "wrong or missing", ["publish", image, *quick, *door, "--password-file", str(wrong)], {}),
        (3, "wrong or missing", ["publish", image, *quick, *door], {"NANOFLEET_PASSWORD": f"x{SECRET}"}),
        (2, "--password-file", ["publish", image, *door, "--password-file", str(unreadable)], {}),
        (2, "Is a directory", ["publish", image, *door, "--password-file", str(tmp_path)], by_variable),
        (2, "process list", ["publish", image, "--broker", in_url], {}),
        (2, "process list", ["worker"], {"NANOFLEET_BROKER": in_url}),
        (2, "process list", ["worker", "--broker", f"mqtts://door:{SECRET}@localhost:99999"], {}),
        (2, "write mqtt://HOST", ["publish", image, "--broker", "door@localhost"], by_variable),
        (2, "--window", ["publish", image, *door, "--window", "0"], by_variable),
        (2, "no such setting", ["publish", image, *door, "--config", str(toml)], {}),
        (2, "did you mean NANOFLEET_PASSWORD?", ["publish", image], {"NANOFLEET_PASSWORT": SECRET}),
        (2, "unrecognized arguments", ["publish", image, "--passwort-file", str(right)], by_variable),
        (1, "no worker is online", ["models", "use", "alexnet", *admin, "--password-file", str(right)], {}),
        (0, "", ["models", "reset", *admin], by_variable),
        (3, "wrong or missing", ["models", "reset", *admin], {"NANOFLEET_PASSWORD": f"x{SECRET}"}),
        (
            0,
            "missile",
            ["classify", str(photos / "rocket.jpg"), "--model", "efficientnet_lite0"],
            by_variable,
        ),
    ]
    for expected, words, arguments, variables in cases:
        code, text = said(*arguments, **variables)
        assert (code, words in text) == (expected, True), (arguments, text)
        assert SECRET not in text, arguments
    assert SECRET not in said("models", "list", NANOFLEET_PASSWORD=SECRET)[1]


def processes_below(pid: int) -> List[int]:
    """A process and its children, at any depth."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in processes_below(int(child)))]


def in_proc(pid: int, what: str) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


@pytest.fixture
def worker(
    broker: GuardedBroker,
    flags: Callable[[str], List[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[WorkerProcess]:
    """A worker that has its password from a variable."""
    monkeypatch.setenv("NANOFLEET_PASSWORD", SECRET)
    _, url, *files = flags("nano-1")
    started = WorkerProcess(
        tmp_path, url, "nanofleet", "nano-1", *files, *tiny_model(), "--status-interval", "0.5"
    )
    monkeypatch.undo()
    try:
        started.wait_ready()
        yield started
        assert started.stop() == 0
    finally:
        started.process.kill()
        started.process.wait()


def test_a_worker_at_work_shows_no_password(
    broker: GuardedBroker, worker: WorkerProcess, photos: Path
) -> None:
    with Client(broker, "admin") as listener, Client(broker, "door") as camera:
        listener.subscribe("nanofleet/#")
        for payload in ((photos / "coffee.png").read_bytes(), b"no image"):
            camera.publish("nanofleet/frames/door", payload)
        heard = {"nanofleet/results/door", "nanofleet/rejects/door", "nanofleet/workers/nano-1"}
        wait_for(lambda: heard <= set(listener.topics), what="an answer, a rejection and a status")
        assert not any(SECRET.encode() in message.payload for message in listener.messages)
    pids = processes_below(worker.process.pid)
    commands = [in_proc(pid, "cmdline") for pid in pids]
    assert any(b"worker.decode.process" in command for command in commands)
    assert not any(SECRET.encode() in command for command in commands)
    assert not worker.said(SECRET)
    if os.geteuid() == 0:  # the control: this is where it is, for root alone
        assert SECRET.encode() in in_proc(worker.process.pid, "environ")


@needs_root
def test_decoders_which_meet_strangers_images_know_no_password(worker: WorkerProcess) -> None:
    decoders = [
        pid
        for pid in processes_below(worker.process.pid)
        if b"worker.decode.process" in in_proc(pid, "cmdline")
    ]
    assert decoders
    assert not any(SECRET.encode() in in_proc(pid, "environ") for pid in decoders)


# --- metrics ----------------------------------------------------------------------------------------------


def reachable(address: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/metrics", timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.URLError:
        return False


def test_metrics_are_for_this_machine_unless_told_otherwise(fleet: Fleet) -> None:
    """127.0.0.2 stands for another of this machine's addresses: it is one, and is not 127.0.0.1."""
    usual = fleet.worker(id="w1", wait=False)
    opened = fleet.worker("--metrics-host", "0.0.0.0", id="w2")
    usual.wait_ready()
    assert reachable("127.0.0.1", usual.metrics_port)
    assert not reachable("127.0.0.2", usual.metrics_port)
    assert reachable("127.0.0.2", opened.metrics_port)


# --- pictures that take a decoder over ---------------------------------------------------------------------


def test_a_picture_that_takes_a_decoder_over_reaches_nothing_and_costs_no_other_frame(
    fleet: Fleet,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It tries the worker's environment, memory and process, the broker, and a file that it may write."""
    codec = tmp_path / "codec"
    codec.mkdir()
    for name, value in hole(codec).items():
        monkeypatch.setenv(name, value)
    # A model of a thousand labels, which other pixels would change.
    worker = fleet.worker("--model", MODEL, "--decoders", "2")
    monkeypatch.undo()
    port = int(fleet.url.rpartition(":")[2])
    photo = (photos / "rocket.jpg").read_bytes()
    attack = attempts(worker.process.pid, port, tmp_path)
    listener = fleet.listen("results/#", "rejects/#")
    for payload in (photo, attack, picture("os._exit(1)"), attack, photo, picture("os.kill(pid, 9)"), photo):
        fleet.send("door", payload)
    wait_for(lambda: len(listener.messages) == 7, 60, "an answer to each")
    results = [Result.decode(message.payload) for message in listener.on(f"{fleet.root}/results/")]
    assert [result.label for result in results] == ["missile"] * 3
    rejections = [Rejection.decode(message.payload) for message in listener.on(f"{fleet.root}/rejects/")]
    details = {rejection.detail for rejection in rejections if rejection.reason == "corrupt_image"}
    assert [reached(detail) for detail in details] == [set()]
    crashes = {rejection.detail for rejection in rejections if rejection.reason == "decoder_crashed"}
    assert crashes == {
        "the decoder process ended with exit code 1",
        "PermissionError: [Errno 1] Operation not permitted",
    }
    assert not (tmp_path / "planted").exists()
    assert not worker.said("system call filter")


def test_classify_decodes_behind_the_fence(
    mosquitto_url: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in hole(tmp_path).items():
        monkeypatch.setenv(name, value)
    image = tmp_path / "attack.jpg"
    image.write_bytes(attempts(os.getpid(), int(mosquitto_url.rpartition(":")[2]), tmp_path))
    run = nanofleet("classify", str(image), str(photos / "rocket.jpg"), "--model", MODEL)
    assert run.returncode == 1
    assert run.stderr == f"{image}: corrupt_image: reached: \n"
    assert "missile" in run.stdout
    assert not (tmp_path / "planted").exists()


def test_neither_a_worker_nor_its_decoders_dump_core(worker: WorkerProcess) -> None:
    pids = processes_below(worker.process.pid)
    assert len(pids) > 1
    for pid in pids:
        (soft, hard), *_ = re.findall(r"Max core file size +(\w+) +(\w+)", in_proc(pid, "limits").decode())
        assert (soft, hard) == ("0", "0")
