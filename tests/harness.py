"""Real servers and processes for the tests: Mosquitto, a listener, workers as a user starts them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.ports import free_port
from wire.messages import AdoptionClaim, Change, WorkerStatus
from wire.waiting import wait_until

#: A real model with its weights, for tests about labels: it takes seconds to load.
MODEL = "efficientnet_lite0"
#: A worker's memory, and its decoders', are closed to all others (`wire.private`), also to tests.
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a worker's memory")


def need(
    program: str, remedy: str = "Debian: mosquitto, mosquitto-clients, prometheus, valgrind, gcc"
) -> str:
    """The path of a server or tool; without it, skip at home and fail in CI."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        message = f"{program} is not installed ({remedy})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def wait_for(condition: Callable[[], Any], timeout: float = 90.0, what: str = "") -> Any:
    """Wait until something is true, and return it; fail loudly otherwise. A busy machine is no reason."""
    found: Any = None

    def look() -> Any:
        nonlocal found
        found = condition()
        return found

    if not wait_until(look, timeout, step=0.02):
        pytest.fail(f"not within {timeout} s: {what or condition}")
    return found


def is_open(file: Path) -> bool:
    """Whether this process has a file open."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # another thread has just closed it
            found.add(os.readlink(each))
    return str(file) in found


@contextlib.contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Make a folder that may not be entered; root, who may, is nobody meanwhile."""
    folder.mkdir(mode=0o700)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        else:
            folder.chmod(0)
        yield
    finally:
        if root:
            os.seteuid(0)
        else:
            folder.chmod(0o700)


class Mosquitto:
    """A real Mosquitto on a port of its own, which can be stopped, killed and started again."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.program = need("mosquitto")
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.log = folder / "mosquitto.log"
        self.config = folder / "mosquitto.conf"
        given = lines or ("allow_anonymous true",)
        self.config.write_text("\n".join([f"listener {self.port} 127.0.0.1", *given, "log_type all", ""]))
        self.process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> Mosquitto:
        """Start it; once more if it ends or hangs instead, as when another has just taken its port."""
        for _ in range(3):
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [self.program, "-c", str(self.config)], stdout=log, stderr=log
                )
            if wait_until(lambda: self._listens() or self._ended(), 10, step=0.02) and not self._ended():
                return self
            code = self.process.poll()
            self.stop(signal.SIGKILL)
        pytest.fail(f"mosquitto {self.port}: exit code {code}: {self.log.read_text()}")

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def _listens(self) -> bool:
        # They are opened one after the other.
        ports = re.findall(r"(?m)^listener (\d+)", self.config.read_text())
        return all(map(_listens, map(int, ports)))

    def stop(self, signum: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(signum)
            self.process.wait(60)
            self.process = None


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


class Listener:
    """A second pair of eyes on the broker: paho alone, nothing of nanofleet's."""

    def __init__(self, url: str, *topics: str) -> None:
        self.messages: List[mqtt.MQTTMessage] = []
        self._subscribed = threading.Event()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=uuid.uuid4().hex, protocol=mqtt.MQTTv5
        )
        self.client.on_message = lambda client, userdata, message: self.messages.append(message)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        host, _, port = url[len("mqtt://") :].partition(":")
        self.client.connect(host, int(port), clean_start=True)
        self.client.loop_start()
        wait_for(self.client.is_connected, what="listener connected")
        if topics:
            self.client.subscribe([(topic, 1) for topic in topics])
            assert self._subscribed.wait(60)

    def on(self, prefix: str) -> List[mqtt.MQTTMessage]:
        """The messages so far whose topic begins so."""
        return [m for m in list(self.messages) if m.topic.startswith(prefix)]

    def publish(self, topic: str, payload: bytes, **options: Any) -> None:
        """Publish at QoS 1, and wait for the PUBACK."""
        self.client.publish(topic, payload, qos=1, **options).wait_for_publish(30)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class WorkerProcess:
    """A worker as a user starts it: a process of its own, with its log in a file."""

    _start_new_session = False

    def __init__(
        self, folder: Path, url: str, root: str, worker_id: str, *flags: str, start_new_session: bool = False
    ) -> None:
        self.id = worker_id
        self._start_new_session = start_new_session
        # Each front end has one of its own.
        processes = flags[flags.index("--processes") + 1] if "--processes" in flags else "1"
        self.metrics_port = free_port(count=int(processes))
        self.log = folder / f"{worker_id}.log"
        # Comparing the engines takes seconds, and tests mostly do not care which one it is.
        engine = () if "--engine" in flags else ("--engine", "onnxruntime")
        self.command = [
            *(sys.executable, "-m", "fleet", "worker", "--broker", url, "--root", root, *engine),
            *("--worker-id", worker_id, "--metrics-port", str(self.metrics_port)),
            # What needs the observer says --observe; the others do without its connections.
            *("--state-dir", str(folder), "--no-observe", *flags),
        ]
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
                start_new_session=self._start_new_session,
            )

    def said(self, text: str) -> bool:
        """Whether its log holds this text."""
        return text in self.log.read_text(errors="replace")

    def wait_said(self, text: str, timeout: float = 90.0) -> None:
        """Wait for a text in the log; fail with the log if the process ends first."""
        wait_for(lambda: self.said(text) or self.process.poll() is not None, timeout, f"{self.id}: {text!r}")
        assert self.said(text), f"{self.id} ended with {self.process.poll()}:\n{self.log.read_text()}"

    def wait_ready(self) -> None:
        self.wait_said("connected to")

    def stop(self, signum: int = signal.SIGTERM, timeout: float = 60.0) -> int:
        """Send a signal, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(timeout)


def user_properties(*pairs: Tuple[str, str]) -> Dict[str, Any]:
    """Options of paho's publish that send user properties."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = list(pairs)
    return {"properties": properties}


def processes_of(module: str, folder: Path) -> List[int]:
    """The processes whose main is a module, and that are told something of a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue  # it has just ended
        if f"{module}\0".encode() in command and str(folder).encode() in command:
            found.append(int(entry.parent.name))
    return found


def statuses(messages: List[mqtt.MQTTMessage]) -> List[WorkerStatus]:
    """Decode the statuses among some messages."""
    topics = [m for m in messages if "/workers/" in m.topic and "/adoption/" not in m.topic]
    return [WorkerStatus.decode(m.payload) for m in topics]


def failures(messages: List[mqtt.MQTTMessage], model: str) -> List[Change]:
    """What workers have said of a change to a model that failed, by the statuses among some messages."""
    changes = [status.change for status in statuses(messages) if status.change]
    return [change for change in changes if (change.state, change.model) == ("failed", model)]


def adopter(messages: List[mqtt.MQTTMessage], dead: str) -> str:
    """The worker that has drained a dead one's session, by the claims among some messages; or nothing."""
    claims = [
        AdoptionClaim.decode(m.payload) for m in messages if f"/{dead}/adoption/" in m.topic and m.payload
    ]
    return next((claim.worker for claim in claims if claim.state == "ended"), "")


def nanofleet(*arguments: str, timeout: float = 300.0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the nanofleet command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "fleet", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )
