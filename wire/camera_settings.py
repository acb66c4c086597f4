"""Where members find each camera's settings: a file of their own, and what the broker retains.

cameras.toml ──> by camera ──────────────────────────┐
settings/cameras/<camera> ──> valid? ── yes ──> goes before the file's ──> CameraBook.of(camera)
                                └── no: logged once, changes nothing
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Callable, Dict, Mapping, Optional

from pydantic import ValidationError

from wire.cameras import CameraSettings
from wire.errors import DecodeError, SettingsError, failure_of
from wire.messages import explain
from wire.toml import tomllib
from wire.topics import CAMERA_RULE, is_id

log = logging.getLogger(__name__)

#: Cameras whose settings are kept, at most: on an open broker anyone may write some.
MAX_CAMERAS = 1000
#: Bytes of all of their messages, at most: one of usual settings has 300, and one with all of ImageNet's
#: labels in groups of its own 30,000.
MAX_BYTES = 8 << 20
#: The settings of a camera that has none.
DEFAULTS = CameraSettings()


def read_cameras(path: Path) -> Dict[str, CameraSettings]:
    """The settings in a TOML file with a table for each camera.

    Raises:
        SettingsError: it cannot be read, or a table is wrong; the text names all that are.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise failure_of(f"--cameras {path}", error) from None
    except ValueError as error:
        raise SettingsError(f"--cameras {path}: {error}") from None
    found: Dict[str, CameraSettings] = {}
    faults = []
    for camera, table in tables.items():
        if not is_id(camera) or not isinstance(table, dict):
            faults.append(f"--cameras {path}: {camera!r} is no table of a camera, as [door]; {CAMERA_RULE}")
            continue
        try:
            found[camera] = CameraSettings.model_validate(table)
        except ValidationError as error:
            faults.append(f"--cameras {path}: [{camera}] {explain(error)}")
    if faults:
        raise SettingsError("\n".join(faults))
    return found


class CameraBook:
    """The settings in force, by camera. All calls come from one thread."""

    def __init__(
        self,
        file: Optional[Mapping[str, CameraSettings]] = None,
        keep: Callable[[CameraSettings], CameraSettings] = lambda settings: settings,
    ) -> None:
        """Begin with what a file says.

        Args:
            file: the settings in the member's own file.
            keep: what of settings is kept, where parts that may be long are of no use.
        """
        self._keep = keep
        self._file = {camera: keep(settings) for camera, settings in (file or {}).items()}
        self._retained: Dict[str, CameraSettings] = {}
        #: By camera, the bytes of the message.
        self._sizes: Dict[str, int] = {}
        #: By camera, the payload that was logged as wrong.
        self._wrong: Dict[str, int] = {}

    def of(self, camera: str) -> CameraSettings:
        """A camera's settings: those retained by the broker, else the file's, else the defaults."""
        return self._retained.get(camera) or self._file.get(camera) or DEFAULTS

    @property
    def retained(self) -> Mapping[str, CameraSettings]:
        """What the broker retains, by camera."""
        return self._retained

    def receive(self, camera: str, payload: bytes) -> bool:
        """Take what stands on a camera's settings topic; an empty payload takes the settings back.

        Returns:
            Whether the camera's settings have changed.
        """
        before = self.of(camera)
        if not payload:
            for kept in (self._retained, self._sizes, self._wrong):
                kept.pop(camera, None)
        else:
            settings = self._read(camera, payload)
            if settings is not None:
                self._retained[camera], self._sizes[camera] = settings, len(payload)
        return self.of(camera) != before

    def _read(self, camera: str, payload: bytes) -> Optional[CameraSettings]:
        try:
            if not is_id(camera):
                raise DecodeError("not the name of a camera")
            if camera not in self._retained and len(self._retained) >= MAX_CAMERAS:
                raise DecodeError(f"there are settings of {MAX_CAMERAS} cameras already")
            others = sum(self._sizes.values()) - self._sizes.get(camera, 0)
            if others + len(payload) > MAX_BYTES:
                raise DecodeError(f"those of all cameras have more than {MAX_BYTES} bytes")
            settings = self._keep(CameraSettings.decode(payload))
        except DecodeError as error:
            self._log_once(camera, payload, error)
            return None
        self._wrong.pop(camera, None)
        return settings

    def _log_once(self, camera: str, payload: bytes, error: DecodeError) -> None:
        if self._wrong.get(camera) == hash(payload) or len(self._wrong) >= MAX_CAMERAS:
            return
        self._wrong[camera] = hash(payload)
        log.warning("settings of camera %s are ignored, and change nothing: %s", camera[:64], error)
