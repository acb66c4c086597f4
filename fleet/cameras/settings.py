"""Settings of `nanofleet cameras list`, `show`, `set` and `remove`."""

from __future__ import annotations

from typing import List

from pydantic import Field, field_validator

from wire.broker import BrokerSettings
from wire.observer_settings import DiscoverySettings
from wire.settings import POSITIONAL
from wire.topics import CAMERA_RULE, camera_ids, is_id


class CamerasSettings(BrokerSettings):
    """What the four have in common."""

    timeout: float = Field(15.0, gt=0, description="Seconds to wait for the broker")


class CameraListSettings(CamerasSettings):
    """The cameras, as the fleet's observer keeps them: one line each.

    nanofleet cameras list
    nanofleet cameras list --json | jq -r 'select(.group == "cat") | .camera'

    The exit code is 0 if there is a camera, else 1.
    """

    json_: bool = Field(False, description="Print each camera's state as one line of JSON, and nothing else")


class OneCamera(CamerasSettings):
    """A command about one camera."""

    camera: str = Field(description="Name of the camera", json_schema_extra=POSITIONAL)

    @field_validator("camera")
    @classmethod
    def _camera_is_an_id(cls, camera: str) -> str:
        if not is_id(camera):
            raise ValueError(f"{CAMERA_RULE}, not {camera!r}")
        return camera


class CameraShowSettings(OneCamera):
    """One camera: its state, and its settings where the broker has some.

    nanofleet cameras show door
    nanofleet cameras show door --json | jq .settings.region

    The exit code is 0 if the broker has either and what it has can be read, else 1.
    """

    json_: bool = Field(
        False, description="Print one line of JSON with `state` and `settings`, either perhaps null"
    )


class CameraSetSettings(OneCamera):
    """Change settings of a camera; what is not named stays as it is.

    nanofleet cameras set door name="Front door" area=Entrance
    nanofleet cameras set door region=0,0.25,1,1      (left, top, right, bottom, as fractions)
    nanofleet cameras set door k=4 n=6 min_confidence=0.6 of=group
    nanofleet cameras set door groups=pets.toml       (a file of groups: cat = ["tabby", "Persian cat"])
    nanofleet cameras set door skip_still=true        (what hardly differs is not classified again)
    nanofleet cameras set door region=                (nothing: the default again)

    The settings are name, area, region, groups (home, none, or a TOML file), max_age, silent_after,
    skip_still (true or false), and of the stable label k, n, min_confidence and of (label or group). They are
    retained by the broker; workers and the observer follow at once, and they replace what a member's own
    --cameras FILE says of this camera.
    """

    changes: List[str] = Field(description="Setting and value: name=Garden", json_schema_extra=POSITIONAL)
    replace: bool = Field(
        False,
        description="Replace settings that cannot be read; what is not named here then has its default",
    )


class CameraRemoveSettings(CamerasSettings, DiscoverySettings):
    """Remove all that the broker keeps of cameras: state, settings, snapshot, and what Home Assistant reads.

    nanofleet cameras remove old-door

    Their entities disappear from Home Assistant. A camera that still sends frames appears again, as a new one
    without settings.

    The exit code is 0 if there was something of each, else 1.
    """

    names: List[str] = Field(description="Names of cameras", json_schema_extra=POSITIONAL)

    @field_validator("names")
    @classmethod
    def _names_are_ids(cls, names: List[str]) -> List[str]:
        return camera_ids(names)
