"""The blueprint and the dashboard, read without Home Assistant; tests/homeassistant runs them in one."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

import yaml

from labels.groups import PACKAGED, read_groups
from tests.deploy.files import DEPLOY

FOLDER = DEPLOY / "home-assistant"


class Input(str):
    """The name behind an `!input`."""


class Loader(yaml.SafeLoader):
    """YAML with blueprints' `!input`."""


Loader.add_constructor("!input", lambda loader, node: Input(node.value))


def inputs(part: Any) -> Iterator[str]:
    """The inputs that a part of a blueprint takes."""
    if isinstance(part, Input):
        yield str(part)
    values = part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
    for value in values:
        yield from inputs(value)


def test_the_blueprint_takes_the_inputs_that_it_asks_for() -> None:
    text = (FOLDER / "blueprints" / "automation" / "nanofleet" / "camera_sees.yaml").read_text()
    automation: Dict[str, Any] = yaml.load(text, Loader)
    blueprint = automation.pop("blueprint")
    asked = {name: one for section in blueprint["input"].values() for name, one in section["input"].items()}
    assert asked.keys() == set(inputs(automation))
    assert {name for name, one in asked.items() if "default" not in one} == {"sensor", "wanted", "actions"}
    assert blueprint["homeassistant"]["min_version"] == "2025.4.0"
    offered: List[str] = asked["wanted"]["selector"]["select"]["options"]
    assert set(offered) <= set(read_groups(PACKAGED["home"]))


def test_the_dashboard_has_home_assistants_own_cards_only() -> None:
    dashboard = yaml.safe_load((FOLDER / "dashboard.yaml").read_text())
    cards = [card for view in dashboard["views"] for card in view["cards"]]
    assert {card["type"] for card in cards} == {"markdown"}
    assert all("{% set root = 'nanofleet'" in card["content"].replace("{%- ", "{% ") for card in cards)
