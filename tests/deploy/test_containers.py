"""Compose and the Dockerfiles: what they copy, install and check."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import re
import sys
from pathlib import Path
from typing import Dict, List, Set, Tuple

import pytest
import yaml

from tests.deploy.files import DEPLOY, DOCKERFILES, ROOT, instructions, run
from tests.ports import free_port
from worker.metrics import Metrics
from worker.metrics_server import serve_metrics


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
    # The torches are the recipe's own wheels, and OpenVINO is for x86-64.
    assert floor.keys() - {"torch", "torchvision", "openvino"} <= nano.keys()
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


def healthcheck(dockerfile: Path) -> List[str]:
    """The command of an image's health check, for this Python."""
    (line,) = [rest for name, rest in instructions(dockerfile) if name == "HEALTHCHECK"]
    command: List[str] = json.loads(line.partition("CMD ")[2])
    return [sys.executable, *command[1:]]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_healthcheck(dockerfile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = healthcheck(dockerfile)
    port, health = free_port(), [True]
    monkeypatch.setenv("NANOFLEET_METRICS_PORT", str(port))
    up = {"healthy": lambda: health[0], "ready": lambda: True}
    with serve_metrics(Metrics(), "127.0.0.1", port, or_next=False, **up):
        assert run(*command).returncode == 0
        health[0] = False
        assert run(*command).returncode != 0
    assert run(*command).returncode != 0


def test_the_healthcheck_asks_all_front_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    command = healthcheck(DEPLOY / "x86" / "Dockerfile")
    first, health = free_port(count=2), [True, True]
    monkeypatch.setenv("NANOFLEET_METRICS_PORT", str(first))
    monkeypatch.setenv("NANOFLEET_PROCESSES", "2")

    def front_end(number: int) -> contextlib.AbstractContextManager[str]:
        up = {"healthy": lambda: health[number], "ready": lambda: True}
        return serve_metrics(Metrics(), "127.0.0.1", first + number, or_next=False, **up)

    with front_end(1):
        with front_end(0):
            assert run(*command).returncode == 0
            health[1] = False
            assert run(*command).returncode != 0, "one that stalls is seen"
            health[1] = True
        assert run(*command).returncode == 0, "one that was drained is no fault"
    assert run(*command).returncode != 0


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
