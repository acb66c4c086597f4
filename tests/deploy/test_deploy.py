"""deploy/ keeps its word: real Mosquitto, promtool and systemd-analyze, and the worker's own settings."""

from __future__ import annotations

import contextlib
import fnmatch
import getpass
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

import paho.mqtt.client as mqtt
import pytest
import yaml
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fleet.ports import free_port
from fleet.provision.mosquitto import INNER_PORT, LIMITS, OUTER_PORT
from fleet.provision.settings import ProvisionSettings
from tests.fleet.provisioned import GuardedBroker, provision
from tests.harness import MODEL, Mosquitto, need, wait_for
from wire.mqtt.packets import PACKET_OVERHEAD
from wire.settings import ENV_PREFIX, PASSWORD_VARIABLE
from worker.metrics import Metrics
from worker.metrics_server import serve_metrics
from worker.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".whl")
CONFIGS = [DEPLOY / "mosquitto" / "mosquitto.conf", DEPLOY / "compose" / "mosquitto.conf"]
MEMORY = DEPLOY / "mosquitto" / "mosquitto.service.d" / "memory.conf"
DOCKERFILES = sorted(DEPLOY.rglob("Dockerfile"))
PAGES = [*sorted(DEPLOY.glob("*/README.md")), ROOT / "docs" / "upgrading.md"]


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def options(config: Path) -> Dict[str, str]:
    """A Mosquitto configuration's options; Mosquitto refuses one that is named twice."""
    lines = [line for line in config.read_text().splitlines() if line and not line.startswith("#")]
    found = dict(line.split(" ", 1) for line in lines)
    assert len(found) == len(lines)
    return found


# --- Mosquitto ----------------------------------------------------------------------------------------


class Broker(Mosquitto):
    """Mosquitto with a configuration of deploy/, but for its port, its data folder and its user."""

    def __init__(self, folder: Path, text: str) -> None:
        super().__init__(folder)
        self.database = folder / "mosquitto.db"
        text, listeners = re.subn(r"(?m)^listener 1883\b.*$", f"listener {self.port} 127.0.0.1", text)
        text, folders = re.subn(r"(?m)^persistence_location .*$", f"persistence_location {folder}/", text)
        assert (listeners, folders) == (1, 1)
        # Started by root, Mosquitto would become a user of its own, whom pytest's folders don't let in.
        self.config.write_text(f"{text}\nuser {getpass.getuser()}\n")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[[str], Broker]]:
    """Start brokers with the text of a configuration."""
    started: List[Broker] = []

    def start(text: str) -> Broker:
        folder = tmp_path / f"broker-{len(started)}"
        folder.mkdir()
        started.append(Broker(folder, text))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop()


class Client:
    """A plain MQTT 5 client, connected while the block lasts."""

    def __init__(self, broker: Broker, name: str, *, expiry: int = 0) -> None:
        self.connack: Optional[Tuple[int, Any]] = None
        self.payloads: List[bytes] = []
        self.subscribed = threading.Event()
        self._broker = broker
        self._expiry = expiry
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda client, userdata, message: self.payloads.append(message.payload)
        self.client.on_subscribe = lambda *_: self.subscribed.set()

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.connack = (reason.value, properties)

    def __enter__(self) -> Client:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._expiry
        self.client.connect("127.0.0.1", self._broker.port, clean_start=False, properties=properties)
        self.client.loop_start()
        wait_for(lambda: self.connack, what="CONNACK")
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic: str) -> None:
        self.client.subscribe(topic, 1)
        assert self.subscribed.wait(10)


def test_limits_fit_the_worker() -> None:
    conf = options(CONFIGS[0])
    defaults = {name: field.default for name, field in WorkerSettings.model_fields.items()}
    assert int(conf["max_packet_size"]) >= defaults["max_payload"] + PACKET_OVERHEAD
    assert int(conf["max_inflight_messages"]) > defaults["window"]
    assert int(conf["max_queued_bytes"]) >= int(conf["max_packet_size"])


def test_the_broker_may_take_what_its_limits_add_up_to() -> None:
    """Three workers away, twenty there, and a packet of nothing but properties, 19 times its length."""
    conf = {name: int(value) for name, value in options(CONFIGS[0]).items() if value.isdigit()}
    there = 2 * conf["max_inflight_messages"] * 100_000
    needed = 3 * conf["max_queued_bytes"] + 20 * there + 20 * conf["max_packet_size"]
    (limit,) = re.findall(r"(?m)^MemoryMax=(\d+)G$", MEMORY.read_text())
    assert needed < int(limit) << 30
    broker = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]["broker"]
    assert broker["mem_limit"] == broker["memswap_limit"] == f"{limit}g"


def test_systemd_accepts_the_limit_of_the_brokers_memory(tmp_path: Path) -> None:
    unit = tmp_path / "mosquitto.service"
    unit.write_text(f"[Service]\nExecStart={shlex.quote(sys.executable)}\n")
    (tmp_path / MEMORY.parent.name).mkdir()
    (tmp_path / MEMORY.parent.name / MEMORY.name).write_text(MEMORY.read_text())
    verified = run(need("systemd-analyze"), "verify", "--man=no", str(unit))
    assert (verified.returncode, verified.stderr) == (0, "")


def test_compose_differs_from_the_other_only_where_a_container_must() -> None:
    first, second = map(options, CONFIGS)
    assert first.keys() == second.keys()
    assert {k for k in first if first[k] != second[k]} == {"listener", "persistence_location"}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.parent.name)
def test_large_frames_pass(broker: Callable[[str], Broker], config: Path) -> None:
    server = broker(config.read_text())
    frame = bytes(range(256)) * 7422  # 1.9 MB
    with Client(server, "listener") as listener, Client(server, "camera") as camera:
        assert camera.connack
        assert camera.connack[1].MaximumPacketSize == int(options(config)["max_packet_size"])
        assert camera.connack[1].ReceiveMaximum == int(options(config)["max_inflight_messages"])
        listener.subscribe("nanofleet/frames/+")
        camera.client.publish("nanofleet/frames/door", frame, 1).wait_for_publish(10)
        wait_for(lambda: listener.payloads, 10, "the frame")
        assert listener.payloads == [frame]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=lambda signum: signum.name)
def test_waiting_frames_survive(broker: Callable[[str], Broker], signum: signal.Signals) -> None:
    server = broker(CONFIGS[0].read_text())
    frames = [b"%04d" % number + b"x" * 20_000 for number in range(50)]
    with Client(server, "worker", expiry=3600) as worker:
        worker.subscribe("nanofleet/frames/+")
    with Client(server, "camera") as camera:
        for frame in frames:
            published = camera.client.publish("nanofleet/frames/door", frame, 1)
        published.wait_for_publish(10)
    if signum is signal.SIGKILL:
        size, database = sum(map(len, frames)), server.database
        wait_for(lambda: database.exists() and database.stat().st_size > size, 10, "the autosave")
    server.stop(signum)
    server.start()
    with Client(server, "worker", expiry=3600) as worker:
        wait_for(lambda: len(worker.payloads) == len(frames), 10, "the frames")
        assert worker.payloads == frames


def test_provision_writes_the_same_limits() -> None:
    here = options(CONFIGS[0])
    assert here == {**LIMITS, "listener": "1883 127.0.0.1", "allow_anonymous": "true"}


# --- Prometheus ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool(arguments: Tuple[str, ...]) -> None:
    checked = run(need("promtool"), *arguments, cwd=DEPLOY / "prometheus")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "FAILED" not in checked.stdout + checked.stderr


def test_alerts_use_the_metrics_of_a_worker() -> None:
    metrics = Metrics()
    metrics.certificate_ends = lambda: datetime.now(timezone.utc)
    exposition = generate_latest(metrics.registry).decode()
    families = list(text_string_to_metric_families(exposition))
    samples = [sample for family in families for sample in family.samples]
    labels = {pair for sample in samples for pair in sample.labels.items()}
    text = "\n".join(path.read_text() for path in (DEPLOY / "prometheus").glob("*.yml"))
    used = set(re.findall(r"\bnanofleet_\w+", text))
    assert len(used) >= 5
    assert used <= {sample.name for sample in samples}
    assert set(re.findall(r'(outcome|reason|stage)="(\w+)"', text)) <= labels


def test_every_alert_is_tested_and_explained() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    every = [rule for group in rules["groups"] for rule in group["rules"]]
    alerts = {rule["alert"] for rule in every if "alert" in rule}
    tests = yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", [])]
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    recorded = {case["expr"] for test in tests for case in test.get("promql_expr_test", [])}
    readme = (DEPLOY / "prometheus" / "README.md").read_text()
    assert alerts == fired == set(re.findall(r"(?m)^\| (Nanofleet\w+) ", readme))
    rules_by_name = {rule["record"] for rule in every if "record" in rule}
    assert rules_by_name == recorded == set(re.findall(r"`(nanofleet:\S+)`", readme))


# --- Settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_setting_that_is_named_exists(path: Path) -> None:
    known = {PASSWORD_VARIABLE} | {ENV_PREFIX + name.upper() for name in WorkerSettings.model_fields}
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"\bNANOFLEET_[A-Z_]+", text)) <= known
    for command, settings in {"worker": WorkerSettings, "provision": ProvisionSettings}.items():
        flags = {"--help"} | {"--" + name.replace("_", "-") for name in settings.model_fields}
        lines = re.findall(rf"nanofleet {command}\b([^`\n]*)", text.replace("\\\n", " "))
        assert {flag for line in lines for flag in re.findall(r"--[a-z][a-z-]*", line)} <= flags
    assert set(re.findall(r"\b888\d\b", text)) <= {str(OUTER_PORT), str(INNER_PORT)}


def worker_environments() -> Iterator[Tuple[str, Dict[str, str]]]:
    services = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]
    yield "compose", services["worker-1"]["environment"]
    lines = (DEPLOY / "systemd" / "worker.env").read_text().splitlines()
    # With its examples that are commented out.
    assignments = [line.lstrip("#") for line in lines if re.match(r"#?[A-Z_]+=", line)]
    yield "systemd", dict(line.split("=", 1) for line in assignments)
    for dockerfile in DOCKERFILES:
        text = " ".join(rest for name, rest in instructions(dockerfile) if name == "ENV")
        yield dockerfile.parent.name, dict(re.findall(r"(NANOFLEET_\w+)=(\S+)", text))


@pytest.mark.parametrize("where", ["compose", "systemd", "x86", "jetson-nano"])
def test_settings_are_valid(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = dict(worker_environments())[where]
    assert environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    WorkerSettings.from_command_line("nanofleet worker", []).open_broker()


def test_every_supervisor_waits_longer_than_the_worker_drains() -> None:
    text = "".join(path.read_text() for path in FILES)
    waits = re.findall(r"(?m)(?:TimeoutStopSec=|stop_grace_period: |--stop-timeout )(\d+)s?\b", text)
    assert len(waits) == 4
    # The connection, the engine and the decoders may take some seconds each after the drain.
    assert min(map(int, waits)) >= WorkerSettings.model_fields["drain_timeout"].default + 20


# --- compose, Dockerfiles, systemd ----------------------------------------------------------------------


def test_compose_names_what_exists() -> None:
    folder = DEPLOY / "compose"
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    services = compose["services"]
    sources = {volume.split(":")[0] for service in services.values() for volume in service["volumes"]}
    for source in sources:
        assert (folder / source).exists() if source.startswith(".") else source in compose["volumes"]
    build = services["worker-1"]["build"]
    assert (folder / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    targets = yaml.safe_load((folder / "workers.yml").read_text())[0]["targets"]
    assert {target.split(":")[0] for target in targets} <= services.keys()


def instructions(dockerfile: Path) -> List[Tuple[str, str]]:
    """A Dockerfile's instructions, each as its name and the rest."""
    text = re.sub(r"(?m)^#.*\n", "", dockerfile.read_text())
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line)]


def sent_to_docker(path: str) -> bool:
    """Whether .dockerignore lets a path through: the last pattern that matches it or a parent decides."""
    patterns = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")
    ]
    candidates = [path, *map(str, Path(path).parents)][:-1]
    sent = True
    for pattern in patterns:
        wanted = pattern.lstrip("!")
        if any(c.count("/") == wanted.count("/") and fnmatch.fnmatchcase(c, wanted) for c in candidates):
            sent = pattern.startswith("!")
    return sent


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_dockerfile(dockerfile: Path) -> None:
    steps = instructions(dockerfile)
    copied: Set[str] = set()
    for name, rest in steps:
        if name == "COPY":
            copied |= set(rest.split()[:-1])
    assert all((ROOT / source).exists() and sent_to_docker(source) for source in copied)
    built = re.search(r"(?m)^packages = (.*)$", (ROOT / "pyproject.toml").read_text())
    assert built
    assert set(json.loads(built.group(1))) | {"pyproject.toml", "README.md"} <= copied
    names = [name for name, _ in steps]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert ("STOPSIGNAL", "SIGTERM") in steps
    assert not re.search(r"--(extra-)?index-url|https?://(?!127\.0\.0\.1)", dockerfile.read_text())


def test_only_what_an_image_needs_is_sent_to_docker() -> None:
    for path in ("tests", ".git", ".venv", "deploy/compose/ca.key", "deploy/x86/Dockerfile"):
        assert not sent_to_docker(path), path
    assert sent_to_docker("deploy/jetson-nano/wheels/torch.whl")


def test_the_nano_has_the_oldest_supported_releases() -> None:
    def pins(text: str) -> Dict[str, str]:
        return dict(re.findall(r"([\w-]+)==([\d.]+)", text))

    recipe = (DEPLOY / "jetson-nano" / "Dockerfile").read_text()
    floor, nano = pins((ROOT / ".ci" / "floor.txt").read_text()), pins(recipe)
    assert floor.keys() - {"torch", "torchvision"} <= nano.keys()
    assert all(nano[name] == floor[name] for name in nano.keys() & floor.keys())
    wheels = dict(re.findall(r"/wheels/(\w+)-(\d+\.\d+)\*", recipe))
    assert wheels == {name: floor[name].rpartition(".")[0] for name in ("torch", "torchvision")}


def test_pip_is_asked_for_no_older_release_than_is_tested() -> None:
    """Else what a system has is left in place, as pydantic 2.10.0, with which no worker starts."""
    floor = dict(re.findall(r"(?m)^([\w-]+)==([\d.]+)$", (ROOT / ".ci" / "floor.txt").read_text()))
    asked = dict(re.findall(r'"([\w-]+)>=([\d.]+)', (ROOT / "pyproject.toml").read_text()))
    # Those of a Jetson come from elsewhere, and call themselves older: 1.13.0a0.
    names = floor.keys() - {"torch", "torchvision"}

    def release(text: str) -> List[int]:
        return [*map(int, text.split(".")), 0][:3]

    assert {name: release(asked[name]) for name in names} == {name: release(floor[name]) for name in names}


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_healthcheck(dockerfile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = [rest for name, rest in instructions(dockerfile) if name == "HEALTHCHECK"]
    command = json.loads(line.partition("CMD ")[2])
    command[0] = sys.executable
    port, health = free_port(), [True]
    monkeypatch.setenv("NANOFLEET_METRICS_PORT", str(port))
    metrics = Metrics()
    up = {"healthy": lambda: health[0], "ready": lambda: True}
    with serve_metrics(metrics, "127.0.0.1", port, or_next=False, **up):
        assert run(*command).returncode == 0
        health[0] = False
        assert run(*command).returncode != 0
    assert run(*command).returncode != 0


@pytest.mark.parametrize("more", ["", "password.conf", "member.conf"])
def test_systemd_accepts_the_unit(tmp_path: Path, more: str) -> None:
    sources = [DEPLOY / "systemd" / "nanofleet-worker.service"]
    if more:
        sources.append(DEPLOY / "systemd" / "nanofleet-worker.service.d" / more)
    for source in sources:
        copy = tmp_path / source.relative_to(DEPLOY / "systemd")
        copy.parent.mkdir(exist_ok=True)
        # The command must exist, and nobody has installed one in /opt here.
        copy.write_text(
            source.read_text().replace("/opt/nanofleet/bin/nanofleet", shlex.quote(sys.executable))
        )
    verified = run(need("systemd-analyze"), "verify", "--man=no", str(tmp_path / "nanofleet-worker.service"))
    assert (verified.returncode, verified.stderr) == (0, "")


def test_a_service_finds_its_members_files_and_a_new_password(tmp_path: Path) -> None:
    """As systemd would start it: in the member's folder, with member.env; secrets are never copied."""
    fleet = tmp_path / "fleet"
    provision(fleet, "--worker", "nano-1")
    broker = GuardedBroker(tmp_path, fleet)
    member = broker.home("nano-1")
    told = dict(
        line.split("=", 1) for line in (member / "member.env").read_text().splitlines() if "=" in line
    )
    told.update(NANOFLEET_STATE_DIR=str(tmp_path / "state"), NANOFLEET_METRICS_PORT="0")
    told.update(NANOFLEET_MODEL=MODEL)
    units = [path for path in FILES if path.suffix in (".service", ".conf")]
    assert not any(re.search("(?m)^LoadCredential", path.read_text()) for path in units)
    drop_in = (DEPLOY / "systemd" / "nanofleet-worker.service.d" / "member.conf").read_text()
    assert set(re.findall("(?m)^(?:EnvironmentFile|WorkingDirectory)=(.+)$", drop_in)) == {
        "/etc/nanofleet/member",
        "/etc/nanofleet/member/member.env",
    }
    log = tmp_path / "log"
    with contextlib.ExitStack() as stack:
        stack.callback(broker.stop)
        broker.start()
        output = stack.enter_context(log.open("wb"))
        command = [sys.executable, "-m", "fleet", "worker"]
        environment = {"PYTHONPATH": str(ROOT), **os.environ, **told}
        worker = stack.enter_context(
            subprocess.Popen(command, env=environment, cwd=member, stdout=output, stderr=output)
        )
        stack.callback(worker.kill)
        wait_for(lambda: "connected to mqtts" in log.read_text() or worker.poll() is not None, 60, "the log")
        (member / "password").unlink()
        provision(fleet)
        new = (member / "password").read_text()
        (member / "password").write_text("the one before")
        broker.stop()
        broker.start()
        wait_for(lambda: "refused: not authorised" in log.read_text(), 60, "the refusal")
        (member / "password").write_text(new)
        wait_for(lambda: "connected again" in log.read_text() or worker.poll() is not None, 60, "the log")
        worker.terminate()
        assert worker.wait(30) == 0, log.read_text()


def test_every_folder_says_what_was_run() -> None:
    folders = [path for path in DEPLOY.iterdir() if path.is_dir()]
    assert len(folders) == 8
    table = (DEPLOY / "README.md").read_text()
    for folder in folders:
        said = (folder / "README.md").read_text().splitlines()[:3]
        begins = ["Run for real", "Emulated", "Only checked or read"]
        assert [line.partition(": ")[0] for line in said] == begins, folder.name
        assert f"| [{folder.name}]({folder.name}) |" in table


#: What is done to the system, by a line that does not begin with sudo.
FOR_ROOT = re.compile(
    r"(?:^|&& |; )(?:apt-get|systemctl (?!show)|groupadd|chown|(?:cp|install|sed) .*/etc/|"
    r"python3 -m venv .*/opt/|/opt/\S+/pip )"
)


def commands(page: Path) -> List[str]:
    """The lines of a page's blocks for a shell, those that go on put together."""
    blocks = re.findall(r"(?ms)^ *```sh\n(.*?)^ *```$", page.read_text(encoding="utf-8"))
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_commands_find_their_files_and_have_the_rights_they_need(page: Path) -> None:
    here = ROOT
    for line in commands(page):
        assert not FOR_ROOT.search(line), f"who is not root may not: {line}"
        words = shlex.split(line, comments=True)
        for word in words:
            if word.startswith("deploy/") or (page.parent / word).is_file():
                assert (here / word).exists(), f"not where the page says one is: {line}"
        here = here / words[1] if words[:1] == ["cd"] else here


def test_a_pis_service_is_given_the_model_and_the_broker(tmp_path: Path) -> None:
    """The page's own lines, on a copy of the file."""
    target, copy = "/etc/nanofleet/worker.env", tmp_path / "worker.env"
    copy.write_text((DEPLOY / "systemd" / "worker.env").read_text())
    page = commands(DEPLOY / "raspberry-pi" / "README.md")
    for line in page:
        if line.startswith("sudo sed "):
            assert target in line
            edit = shlex.split(line.replace(target, str(copy)))[1:]
            assert run(*edit).returncode == 0
    told = dict(line.split("=", 1) for line in copy.read_text().splitlines() if re.match("[A-Z]", line))
    text = "\n".join(page)
    assert {told["NANOFLEET_BROKER"]} == set(re.findall(r"nanofleet worker .*--broker (\S+)", text))
    assert {told["NANOFLEET_MODEL"]} == set(re.findall(r"install .* (/etc/nanofleet/\S+\.onnx)", text))


def test_only_wheels_that_somebody_trusted_go_into_the_nanos_image(tmp_path: Path) -> None:
    """The recipe's own line, in another folder; without pip, which refuses wheels of another machine."""
    recipe = DEPLOY / "jetson-nano" / "Dockerfile"
    (line,) = [rest for name, rest in instructions(recipe) if name == "RUN" and "SHA256SUMS" in rest]
    line = line.replace("/wheels", str(tmp_path)).replace("python3 -m pip install", "echo")
    wheels = [
        tmp_path / f"{name}-cp38-cp38-linux_aarch64.whl"
        for name in ("torch-1.13.0a0+git7", "torchvision-0.14.0a0")
    ]
    for wheel in wheels:
        wheel.write_text(wheel.name)

    def build() -> Tuple[bool, List[str]]:
        done = run("sh", "-c", line)
        return done.returncode == 0, [path.name for path in wheels if f"--no-deps {path}" in done.stdout]

    def trust(*trusted: Path) -> None:
        noted = run("sha256sum", *(path.name for path in trusted), cwd=tmp_path)
        (tmp_path / "SHA256SUMS").write_text(noted.stdout)

    assert build() == (False, []), "nothing is noted"
    trust(*wheels)
    assert build() == (True, [path.name for path in wheels])
    trust(wheels[0])
    assert build() == (False, [wheels[0].name]), "the other one is not noted"
    trust(*wheels)
    wheels[1].write_text("another")
    assert build() == (False, [])
