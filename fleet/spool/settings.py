"""Settings of `nanofleet spool list`, `retry` and `drop`."""

from __future__ import annotations

from typing import List, Optional

from pydantic import Field, model_validator

from fleet.workers.settings import Span
from publisher.settings import SpoolSettings
from wire.settings import POSITIONAL


class SpoolListSettings(SpoolSettings):
    """The frames of `nanofleet publish` that have no answer: those that wait, and those that were refused.

    nanofleet spool list
    nanofleet spool list --json | jq -r 'select(.state == "refused") | .source'

    A spool belongs to one broker and root: name them as for publish. No broker is needed.
    """

    json_: bool = Field(False, description="Print each frame as one line of JSON, and nothing else")


class SpoolRetrySettings(SpoolSettings):
    """Let frames wait again that the broker has refused, once the reason is gone.

    nanofleet spool retry
    nanofleet spool retry 4d0f15b1

    The next `nanofleet publish` sends them; one that runs now does not. No broker is needed.
    The exit code is 0 unless one that was named was not refused.
    """

    ids: List[str] = Field(
        [],
        description="Which of them, by their ids or what these begin with (default: all)",
        json_schema_extra=POSITIONAL,
    )


class SpoolDropSettings(SpoolSettings):
    """Give frames up, without asking.

    nanofleet spool drop                      (all that were refused)
    nanofleet spool drop 4d0f15b1             (this one, whether it waits or was refused)
    nanofleet spool drop --older-than 7d      (of those that were refused, the older ones)
    nanofleet spool drop --all                (what waits as well)

    What waits for a publisher that runs stays: stop that first. The exit code is 0 if all that was meant is
    dropped.
    """

    ids: List[str] = Field(
        [], description="Frames, by their ids or what these begin with", json_schema_extra=POSITIONAL
    )
    all: bool = Field(False, description="Those that wait as well, and not only those that were refused")
    older_than: Optional[Span] = Field(
        None, description="Only those that were taken longer ago: 90s, 15m, 12h or 7d"
    )

    @model_validator(mode="after")
    def _named_or_described(self) -> SpoolDropSettings:
        if self.ids and (self.all or self.older_than is not None):
            raise ValueError("name frames, or describe them with --all and --older-than, but not both")
        return self
