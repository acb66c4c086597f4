"""The start of Home Assistant's app, with the Supervisor's answers and a real broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List
from urllib.parse import quote

import pytest

from tests.deploy.files import DEPLOY, run
from tests.harness import Mosquitto, need, wait_for

APP = DEPLOY / "home-assistant-addon" / "nanofleet"
#: A model that needs no other settings.
MODEL = DEPLOY.parent / "tests" / "tools" / "files" / "ultralytics.onnx"
TOKEN, USER, PASSWORD = "a token", "addons@home", "se cr/et"


class Supervisor:
    """The Supervisor's answer to GET /services/mqtt, in the form of its API."""

    def __init__(self) -> None:
        #: What a broker's app has told it; without, it says so as the real one does.
        self.service: Dict[str, Any] = {}
        self.asked = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, answer = outer.answer(self.path, self.headers["Authorization"])
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())
                outer.asked.set()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, authorization: str) -> Any:
        if path != "/services/mqtt":
            return 404, {"result": "error", "message": "Service does not exist"}
        if authorization != f"Bearer {TOKEN}":
            return 403, {"result": "error", "message": "No access to mqtt service!"}
        if not self.service:
            return 400, {"result": "error", "message": "Service not enabled"}
        return 200, {"result": "ok", "data": self.service}


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """A Supervisor without a broker."""
    some = Supervisor()
    yield some
    some.server.shutdown()
    some.server.server_close()


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> Mosquitto:
    """A Mosquitto that asks for a password, as Home Assistant's app does."""
    users = tmp_path / "users"
    users.touch(0o600)
    assert run(need("mosquitto_passwd"), "-b", str(users), USER, PASSWORD).returncode == 0
    return mosquitto("allow_anonymous false", f"password_file {users}", "user root")


@pytest.fixture
def start(tmp_path: Path, supervisor: Supervisor) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the app with options, in folders of the test's own."""
    for name in ("data", "config", "models"):
        (tmp_path / name).mkdir()
    started: List[subprocess.Popen[bytes]] = []

    def start(**options: Any) -> subprocess.Popen[bytes]:
        (tmp_path / "data" / "options.json").write_text(json.dumps(options))
        folders = [str(tmp_path / name) for name in ("data", "config", "models")]
        call = f"import run; run.main(*{folders!r}, {supervisor.url!r}, {os.getuid()})"
        with (tmp_path / "log").open("ab") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(APP)!r}); {call}"],
                    env={**os.environ, "SUPERVISOR_TOKEN": TOKEN},
                    stdout=log,
                    stderr=log,
                )
            )
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.wait(60)


def log(folder: Path) -> str:
    return (folder / "log").read_text()


def environment(process: subprocess.Popen[bytes]) -> List[bytes]:
    return Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")


def served_by(broker: Mosquitto, **facts: Any) -> Dict[str, Any]:
    """What the Mosquitto app tells the Supervisor, and that tells us."""
    return {
        **{"addon": "core_mosquitto", "host": "127.0.0.1", "port": broker.port, "ssl": False},
        **{"username": USER, "password": PASSWORD, "protocol": "3.1.1", **facts},
    }


def test_it_waits_for_a_broker_and_serves_without_its_token(
    start: Callable[..., subprocess.Popen[bytes]], supervisor: Supervisor, broker: Mosquitto, tmp_path: Path
) -> None:
    """The model that came with it, on the broker that the Supervisor knows."""
    (tmp_path / "models" / "ours.onnx").write_bytes(MODEL.read_bytes())
    process = start(root="cats/home", input=["in/{camera}"], log_level="debug")
    assert supervisor.asked.wait(30)
    wait_for(lambda: "Service not enabled" in log(tmp_path))
    supervisor.service = served_by(broker)
    wait_for(lambda: "connected to" in log(tmp_path) or process.poll() is not None, 90, "it serves")
    assert process.poll() is None, log(tmp_path)
    assert "start the Mosquitto app" in log(tmp_path)
    assert TOKEN.encode() not in b"".join(environment(process))
    assert f"NANOFLEET_PASSWORD={PASSWORD}".encode() in environment(process)
    told = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    assert b"home-assistant" in told
    assert b"in/{camera}" in told
    assert PASSWORD.encode() not in b" ".join(told)
    assert PASSWORD not in log(tmp_path)
    assert (tmp_path / "data" / "nanofleet").is_dir()
    process.terminate()
    assert process.wait(60) == 0


def test_it_takes_another_broker_a_model_of_ones_own_and_cameras(
    start: Callable[..., subprocess.Popen[bytes]],
    broker: Mosquitto,
    tmp_path: Path,
) -> None:
    (tmp_path / "config" / "mine.onnx").write_bytes(MODEL.read_bytes())
    (tmp_path / "config" / "cameras.toml").write_text('[door]\nname = "Front door"\n')
    url = f"mqtt://{quote(USER)}@127.0.0.1:{broker.port}"
    process = start(broker=url, password=PASSWORD, model="mine.onnx", name="hall")
    wait_for(lambda: "connected to" in log(tmp_path) or process.poll() is not None, 90, "it serves")
    assert process.poll() is None, log(tmp_path)
    told = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode().split("\0")
    assert told[told.index("--model") + 1] == str(tmp_path / "config" / "mine.onnx")
    assert told[told.index("--cameras") + 1] == str(tmp_path / "config" / "cameras.toml")
    assert told[told.index("--worker-id") + 1] == "hall"


def test_a_broker_that_refuses_ends_it(
    start: Callable[..., subprocess.Popen[bytes]], supervisor: Supervisor, broker: Mosquitto, tmp_path: Path
) -> None:
    """The Supervisor's watchdog starts it again, and then it asks for the password anew."""
    (tmp_path / "models" / "ours.onnx").write_bytes(MODEL.read_bytes())
    supervisor.service = served_by(broker, password="another")
    assert start().wait(90) == 3, log(tmp_path)


def test_it_observes_without_a_model(
    start: Callable[..., subprocess.Popen[bytes]], supervisor: Supervisor, broker: Mosquitto, tmp_path: Path
) -> None:
    supervisor.service = served_by(broker)
    process = start(observer_only=True, log_level="debug")
    wait_for(
        lambda: "observing the cameras" in log(tmp_path) or process.poll() is not None, 60, "it observes"
    )
    assert process.poll() is None, log(tmp_path)
    assert b"observe" in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    process.terminate()
    assert process.wait(60) == 0
