"""The settings that the files of deploy/ give to a worker are valid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterator, Tuple

import pytest
import yaml

from fleet.provision.mosquitto import INNER_PORT, OUTER_PORT
from fleet.provision.settings import ProvisionSettings
from tests.deploy.files import DEPLOY, DOCKERFILES, FILES, instructions
from wire.settings import ENV_PREFIX, PASSWORD_VARIABLE
from worker.settings import WorkerSettings


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
