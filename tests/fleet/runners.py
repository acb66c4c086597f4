"""Commands that end as a command can end."""

from __future__ import annotations

from wire.errors import ConnectionRefused, DuplicateMember, NanofleetError, SettingsError
from wire.settings import Settings


def well(settings: Settings) -> int:
    return 0


def not_well(settings: Settings) -> int:
    return 1


def fails(settings: Settings) -> int:
    raise NanofleetError("it fails")


def wrong(settings: Settings) -> int:
    raise SettingsError("--log-level: it is wrong")


def refused(settings: Settings) -> int:
    raise ConnectionRefused("it is refused")


def duplicate(settings: Settings) -> int:
    raise DuplicateMember("it is a duplicate")


def interrupted(settings: Settings) -> int:
    raise KeyboardInterrupt


def broken(settings: Settings) -> int:
    import labels.nobody_has_this  # type: ignore[import-not-found]  # noqa: F401

    return 0


def incomplete(settings: Settings) -> int:
    import nobody_has_this  # type: ignore[import-not-found]  # noqa: F401

    return 0
