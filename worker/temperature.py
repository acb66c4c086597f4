"""How hot the machine is, as Linux measures it: by zone, and the hottest."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Optional

THERMAL = Path("/sys/class/thermal")
#: Zones of Jetsons that measure nothing: that of the power management chip always shows 100 °C.
_DUMMY_ZONES = {"PMIC-Die"}


def temperatures(thermal: Path = THERMAL) -> Dict[str, float]:
    """Degrees Celsius by the name of the thermal zone; nothing on a machine without sensors."""
    found: Dict[str, float] = {}
    for zone in sorted(thermal.glob("thermal_zone*")):
        try:
            name = (zone / "type").read_text(encoding="ascii").strip()
            celsius = int((zone / "temp").read_text(encoding="ascii")) / 1000
        except (OSError, ValueError):
            continue  # a sensor that is switched off does not answer
        if name not in _DUMMY_ZONES:
            found.setdefault(name, celsius)
    return found


def hottest(thermal: Path = THERMAL) -> Optional[float]:
    """Degrees Celsius of the hottest zone; None on a machine without sensors."""
    return max(temperatures(thermal).values(), default=None)
