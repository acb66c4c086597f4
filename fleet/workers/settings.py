"""Settings of `nanofleet workers` and `nanofleet workers forget`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, List, Optional

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Annotated

from wire.broker import BrokerSettings
from wire.settings import POSITIONAL

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _span(value: Any) -> Any:
    match = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"a number and s, m, h or d for its unit, as 7d, not {value!r}")
    try:
        return timedelta(**{_UNITS[match.group(2)]: float(match.group(1))})
    except OverflowError:
        raise ValueError(f"{value} is too long") from None


#: A length of time as people write it: 90s, 15m, 12h, 7d.
Span = Annotated[timedelta, BeforeValidator(_span)]


class WorkersSettings(BrokerSettings):
    """The workers of the fleet by their statuses: one line each.

    nanofleet workers
    nanofleet workers --json | jq -r 'select(.silent) | .worker'
    nanofleet workers --watch
    nanofleet workers forget nano-7           (removes what is kept of one that is gone: see its --help)

    A worker is silent if its status says online and is older than its lease. Where only that worker's own
    clock says so, which may be wrong, this waits for its next status. The end of a line holds what sets a
    worker apart from its group, such as another model.

    The exit code is 0 if a worker is online, else 1; with --watch, 0 after Ctrl-C.
    """

    json_: bool = Field(
        False,
        description="Print each status as one line of JSON, with `silent` (and `adopter`), and nothing else",
    )
    watch: bool = Field(
        False,
        description="Go on until Ctrl-C: a live table, or a line for each change where there is no terminal",
    )
    timeout: float = Field(
        15.0, gt=0, description="Seconds to wait for the broker, and then for silent workers"
    )


class ForgetSettings(BrokerSettings):
    """Remove the statuses that the broker keeps of workers that are gone.

    nanofleet workers forget nano-7 nano-8
    nanofleet workers forget --gone 7d        (all that have been gone for longer than that)

    A worker that still reports is kept: if its status says online, this first waits for its next one, for as
    long as its lease. The time of a death that no adoption followed is unknown, so --gone passes it over;
    by its name it is removed, and then nobody adopts frames that may wait for it.

    A broker with an ACL must let this user write below ROOT/workers/ and ROOT/beacons/, as operators of
    `nanofleet provision` may.
    The exit code is 0 if all that were named are removed.
    """

    names: List[str] = Field([], description="Names of workers", json_schema_extra=POSITIONAL)
    gone: Optional[Span] = Field(None, description="All gone for longer than this: 90s, 15m, 12h or 7d")
    timeout: float = Field(
        60.0, gt=0, description="Seconds to wait for the broker, and then for silent workers"
    )

    @model_validator(mode="after")
    def _either(self) -> ForgetSettings:
        if bool(self.names) == (self.gone is not None):
            raise ValueError("name workers, or say --gone 7d for all that are gone for so long")
        return self
