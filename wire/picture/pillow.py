"""Whether the Pillow that is installed can do what decoding needs."""

from __future__ import annotations

import re

#: The oldest that does, which pyproject.toml asks for as well.
OLDEST = (10, 4)


class UnfitPillow(Exception):
    """No picture can be decoded until another Pillow is installed."""


def check_pillow() -> None:
    """See that Pillow is there, and new enough.

    Where an environment sees the system's packages (python3 -m venv --system-site-packages), an old one may
    have been left in place.

    Raises:
        UnfitPillow: it is not; the text says which one was found, and what to do.
    """
    remedy = f"pip install 'pillow>={OLDEST[0]}.{OLDEST[1]}'"
    try:
        import PIL
    except ModuleNotFoundError:
        raise UnfitPillow(f"Pillow is not installed: {remedy}") from None
    version = str(getattr(PIL, "__version__", "UNKNOWN"))
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        raise UnfitPillow(f"Pillow {version} in {PIL.__path__[0]} is too old: {remedy}")
