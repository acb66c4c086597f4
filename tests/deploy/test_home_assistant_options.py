"""The options of Home Assistant's app become flags that nanofleet takes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Dict, List

import pytest
import yaml

from fleet.commands import COMMANDS
from tests.deploy.files import DEPLOY
from wire.settings import Settings

APP = DEPLOY / "home-assistant-addon" / "nanofleet"
#: A value for each option; the broker's own become an address and a password before.
OPTIONS: Dict[str, Any] = {
    **{
        "model": "birds.onnx",
        "input": ["a/{camera}", "b/{camera}"],
        "snapshot_every": 5,
        "log_level": "debug",
    },
    **{"observer_only": False, "root": "site/north", "name": "hall"},
}


def command_of(options: Dict[str, Any], folder: Path) -> List[str]:
    """What the app's start makes of options."""
    spec = importlib.util.spec_from_file_location("run", APP / "run.py")
    assert spec is not None
    assert spec.loader is not None
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    command: List[str] = run.command_line(options, "mqtt://me@broker", folder, folder)
    return command


@pytest.mark.parametrize("observer_only", [False, True])
def test_every_option_reaches_a_flag_that_exists(observer_only: bool, tmp_path: Path) -> None:
    (tmp_path / "cameras.toml").touch()
    schema = yaml.safe_load((APP / "config.yaml").read_text())["schema"]
    assert OPTIONS.keys() == schema.keys() - {"broker", "password"}
    command, *flags = command_of({**OPTIONS, "observer_only": observer_only}, tmp_path)
    settings: Settings = COMMANDS[command].settings.from_command_line(f"nanofleet {command}", flags)
    assert command == ("observe" if observer_only else "worker")
    told = settings.model_dump()
    taken = {"root", "log_level"} if observer_only else OPTIONS.keys() - {"observer_only", "name", "model"}
    assert {name: told[name] for name in taken} == {name: OPTIONS[name] for name in taken}
    assert told["cameras"] == tmp_path / "cameras.toml"
    assert told["observer_id" if observer_only else "worker_id"] == "hall"
    assert observer_only or told["model"] == str(tmp_path / "birds.onnx")
