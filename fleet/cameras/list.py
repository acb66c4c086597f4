"""`nanofleet cameras list` and `show`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Dict, List, Optional

from rich.table import Table

from fleet.cameras.retained import open_fleet, settings_of, states
from fleet.cameras.settings import CameraListSettings, CameraShowSettings
from fleet.console import open_console, plain
from wire.cameras import CameraState
from wire.messages import Message


def list_cameras(settings: CameraListSettings) -> int:
    """Print a line for each camera.

    Returns:
        0 if there is one, else 1.

    Raises:
        NanofleetError: the broker refused, or was not there in time.
    """
    console = open_console()
    with open_fleet(settings) as fleet:
        found = list(states(fleet).values())
    if settings.json_:
        for state in found:
            print(json.dumps(_as_json(state)), flush=True)
    elif found:
        console.print(_table(found))
    else:
        console.print(
            f"No camera has a state below {settings.topics.camera('')}: none has been answered yet, or no "
            "observer runs (nanofleet observe, or a worker without --no-observe)"
        )
    return 0 if found else 1


def show(settings: CameraShowSettings) -> int:
    """Print a camera's state and settings.

    Returns:
        0 if there are any, and all can be read, else 1.

    Raises:
        NanofleetError: the broker refused, or was not there in time.
    """
    console = open_console()
    topics = {
        "state": settings.topics.camera(settings.camera),
        "settings": settings.topics.camera_settings(settings.camera),
    }
    with open_fleet(settings, settings.camera) as fleet:
        state, given = states(fleet).get(settings.camera), settings_of(fleet, settings.camera)
        there = {title for title, topic in topics.items() if topic in fleet.also}
    parts: Dict[str, Optional[Dict[str, Any]]] = {
        "state": _as_json(state) if state else None,
        "settings": _as_json(given) if given else None,
    }
    if settings.json_:
        print(json.dumps(parts), flush=True)
    elif not there:
        console.print(f"The broker keeps nothing of a camera {settings.camera}")
    else:
        for title, facts in parts.items():
            missing = " cannot be read" if title in there else " none"
            console.print(f"{title}:{'' if facts else missing}")
            for name, value in (facts or {}).items():
                if name != "schema":
                    console.print(f"  {name:<17} {_shown(name, value)}")
    return 0 if there and all(parts[title] for title in there) else 1


def _as_json(message: Message) -> Dict[str, Any]:
    facts: Dict[str, Any] = json.loads(message.encode())
    return facts


def _shown(name: str, value: Any) -> str:
    """A field for people: confidences in percent, the best labels in a line."""
    if value in (None, "", []):
        return "-"
    if name == "top":
        return ", ".join(f"{each['label']} {each['confidence']:.0%}" for each in value)
    if name.endswith("confidence") and isinstance(value, float):
        return f"{value:.0%}"
    return value if isinstance(value, str) else json.dumps(value)


def _table(found: List[CameraState]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("camera", "name", "sees", "group", "since", "last seen", "frames", "rejected", "state"):
        right = column in ("frames", "rejected")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for state in found:
        notes = [
            *(["silent"] if state.silent else []),
            *(["last one rejected"] if state.rejected_last else []),
        ]
        table.add_row(
            state.camera,
            state.name,
            _sure(state.stable, state.stable_confidence),
            _sure(state.group, state.group_confidence),
            _time(state.stable_since),
            _time(state.last_seen),
            str(state.frames),
            str(state.rejections),
            plain(", ".join(notes), "yellow"),
        )
    return table


def _sure(what: str, confidence: Optional[float]) -> str:
    return what if confidence is None else f"{what} {confidence:.0%}"


def _time(moment: Optional[datetime]) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else ""
