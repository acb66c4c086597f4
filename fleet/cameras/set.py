"""`nanofleet cameras set`: read the retained settings, change them, publish them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

from pydantic import ValidationError

from fleet.cameras.retained import open_fleet, settings_of
from fleet.cameras.settings import CameraSetSettings
from fleet.console import open_console
from labels.groups import read_groups
from wire.cameras import CameraSettings, Stability
from wire.errors import DecodeError, SettingsError
from wire.messages import explain

#: Settings of the stable label, and those beside them.
_STABLE = tuple(Stability.model_fields)
KEYS = (*(name for name in CameraSettings.model_fields if name not in ("schema_", "stable")), *_STABLE)


def set_camera(settings: CameraSetSettings) -> int:
    """Change a camera's settings; returns the exit code.

    Raises:
        SettingsError: a value is wrong, or what is set there cannot be read; nothing was changed.
        NanofleetError: the broker refused, or was not there in time.
    """
    given = _parse(settings.changes)
    console = open_console()
    with open_fleet(settings, settings.camera) as fleet:
        if settings.topics.camera(settings.camera) not in fleet.also:
            console.print(f"{settings.camera}: no such camera was seen yet; its settings wait for it")
        topic = settings.topics.camera_settings(settings.camera)
        before = settings_of(fleet, settings.camera)
        if before is None and topic in fleet.also and not settings.replace:
            raise SettingsError(
                f"nothing was changed: what stands on {topic} cannot be read, perhaps because a newer "
                "release has set it; --replace sets what is named here, and all else to its default"
            )
        fleet.retain(topic, _changed(before or CameraSettings(), given))
    for change in settings.changes:
        name, _, text = change.partition("=")
        console.print(f"{settings.camera}: {name} {f'= {text}' if text else 'is the default again'}")
    return 0


def _parse(changes: Sequence[str]) -> Dict[str, Any]:
    """Each setting with its value; None for its default."""
    found: Dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or name not in KEYS:
            raise SettingsError(f"{change!r}: write SETTING=VALUE; there are {', '.join(KEYS)}")
        found[name] = _value(name, text) if text else None
    return found


def _value(name: str, text: str) -> Any:
    """A setting's value, where its kind fits; what it may be is for the settings to say.

    Raises:
        SettingsError: it is of another kind, or its file cannot be read.
    """
    if name == "groups" and text.endswith(".toml"):
        return read_groups(Path(text))
    if name not in _KINDS:
        return text
    kind, how = _KINDS[name]
    try:
        return kind(text)
    except (ValueError, KeyError):
        raise SettingsError(f"{name}={text}: write {how}") from None


def _region(text: str) -> List[float]:
    left, top, right, bottom = map(float, text.split(","))
    return [left, top, right, bottom]


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _choice(*choices: str) -> Callable[[str], str]:
    return lambda text: choices[choices.index(text)]


#: What makes a value of a text, raising ValueError, and what to write instead.
_KINDS: Dict[str, Tuple[Callable[[str], Any], str]] = {
    "region": (_region, "left,top,right,bottom from 0 to 1, as 0,0.25,1,1"),
    "groups": (_choice("home", "none"), "home, none, or a file that ends in .toml"),
    "of": (_choice("label", "group"), "label or group"),
    "skip_still": (_flag, "true or false"),
    **dict.fromkeys(("k", "n"), (int, "a whole number of frames")),
    **dict.fromkeys(("max_age", "silent_after"), (float, "seconds; 0: never")),
    "min_confidence": (float, "a number above 0, at most 1"),
}


def _changed(before: CameraSettings, given: Dict[str, Any]) -> bytes:
    """The settings with changes, as all will be able to read them.

    Raises:
        SettingsError: they are wrong, or too long for a reader.
    """
    facts: Dict[str, Any] = before.model_dump(by_alias=True)
    for name, value in given.items():
        of = facts["stable"] if name in _STABLE else facts
        if value is None:
            of.pop(name)
        else:
            of[name] = value
    try:
        changed = CameraSettings.model_validate(facts).encode()
        CameraSettings.decode(changed)
    except ValidationError as error:
        raise SettingsError(f"nothing was changed: {explain(error)}") from None
    except DecodeError as error:
        raise SettingsError(f"nothing was changed: {error}") from None
    return changed
