"""Home Assistant's app: what its files say, and what puts it together."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
import yaml
from PIL import Image

import wire
from tests.deploy.files import DEPLOY, instructions, run
from tests.worker.seeded import seed_weights
from worker.settings import WorkerSettings

REPOSITORY = DEPLOY / "home-assistant-addon"
APP = REPOSITORY / "nanofleet"
CONFIG: Dict[str, Any] = yaml.safe_load((APP / "config.yaml").read_text())
#: The documented keys that the configuration may use without more rights than it needs.
KEYS = {
    *("name", "version", "slug", "description", "arch", "url", "startup", "boot", "homeassistant", "stage"),
    *("services", "map", "timeout", "options", "schema", "image", "init", "watchdog", "ports", "tmpfs"),
}
#: A type of an option, as the Supervisor reads it.
TYPE = re.compile(
    r"(?:bool|str|url|port|password|int(?:\(\d*,\d*\))?|float(?:\([\d.]*,[\d.]*\))?|match\((.*)\)|list\(.+\))\?"
)


def test_the_configuration_is_one_that_a_supervisor_takes() -> None:
    assert yaml.safe_load((REPOSITORY / "repository.yaml").read_text())["name"]
    assert CONFIG.keys() <= KEYS
    assert {"name", "version", "slug", "description", "arch"} <= CONFIG.keys()
    assert CONFIG["version"] == wire.__version__
    assert f"## {wire.__version__}" in (APP / "CHANGELOG.md").read_text()
    assert re.fullmatch(r"[-_.A-Za-z0-9]+", CONFIG["slug"])
    assert set(CONFIG["arch"]) == {"amd64", "aarch64"}
    assert CONFIG["services"] == ["mqtt:want"]
    drain = WorkerSettings.model_fields["drain_timeout"].default
    assert drain + 20 <= CONFIG["timeout"] <= 300, "the least and the most that the Supervisor waits"
    for text in types().values():
        found = TYPE.fullmatch(text)
        assert found, f"each option is optional, and of a known type: {text}"
        re.compile(found.group(1) or "")


def types() -> Dict[str, str]:
    """The options, each with its type, or that of its items."""
    return {name: kind[0] if isinstance(kind, list) else kind for name, kind in CONFIG["schema"].items()}


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        (
            "input",
            ["{camera}", "frigate/{camera}/{object}/snapshot", "/{site}/{camera}/"],
            ["frigate/+/snapshot", "door", "{camera}/#", "cam-{camera}", "{camera}.jpg/x", "{camera}/{"],
        ),
        ("root", ["nanofleet", "site/north", "n"], ["", "$SYS", "/a", "a/+", "a/", "{a}"]),
        ("name", ["home-assistant", "a" * 64], ["", "a b", "a" * 65]),
        ("model", ["birds.onnx", "a-1.b.onnx"], ["../birds.onnx", "birds.pt", ".onnx"]),
        ("broker", ["mqtt://me@host:1883", "wss://host/mqtt"], ["host", "http://host"]),
    ],
)
def test_what_may_be_typed_is_what_nanofleet_takes(option: str, good: List[str], bad: List[str]) -> None:
    found = TYPE.fullmatch(types()[option])
    assert found
    assert all(re.match(found.group(1), text) for text in good)
    assert not [text for text in bad if re.match(found.group(1), text)]


def test_every_option_is_described_in_each_language() -> None:
    for language in ("en", "de"):
        told = yaml.safe_load((APP / "translations" / f"{language}.yaml").read_text(encoding="utf-8"))
        assert told["configuration"].keys() == CONFIG["schema"].keys()
        assert all(one["name"] and one["description"] for one in told["configuration"].values())
    page = (APP / "DOCS.md").read_text()
    assert all(f"| `{option}` |" in page for option in CONFIG["schema"])


def test_pictures_have_the_size_that_is_asked_for() -> None:
    for name, size in {"icon": (128, 128), "logo": (250, 100)}.items():
        with Image.open(APP / f"{name}.png") as picture:
            assert (picture.format, picture.size) == ("PNG", size)


def test_the_image_installs_no_pytorch_and_what_it_copies_is_put_there() -> None:
    steps = instructions(APP / "Dockerfile")
    assert not re.search(r"index-url|https?://", (APP / "Dockerfile").read_text())
    (installs,) = [rest for name, rest in steps if name == "RUN" and "pip" in rest]
    assert installs.endswith('nanofleet-*.whl)[onnx]"')
    copied = {rest.split()[0] for name, rest in steps if name == "COPY"}
    assert copied == {"wheels", "models", "run.py"}
    user = re.search(r"useradd .*--uid (\d+) ", " ".join(rest for _, rest in steps))
    assert user
    assert f"USER = {user.group(1)}\n" in (APP / "run.py").read_text()


def test_it_is_put_together_with_a_wheel_and_a_model(tmp_path: Path) -> None:
    seed_weights(tmp_path, "squeezenet1_1")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = run(
        *(str(REPOSITORY / "assemble.sh"), str(tmp_path / "made"), "squeezenet1_1"),
        *("--weights-dir", str(tmp_path)),
        env={**os.environ, "PATH": path, "PIP_NO_BUILD_ISOLATION": "0"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = {str(path.relative_to(tmp_path / "made")) for path in (tmp_path / "made").rglob("*")}
    assert {"repository.yaml", "nanofleet/config.yaml", "nanofleet/models/squeezenet1_1.onnx"} <= made
    assert len([name for name in made if name.endswith(".whl")]) == 1
    assert all(
        (tmp_path / "made" / "nanofleet" / source).exists() for source in ("wheels", "models", "run.py")
    )
