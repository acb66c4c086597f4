"""Settings of `nanofleet results`."""

from __future__ import annotations

from typing import List, Optional

from pydantic import Field, field_validator

from wire.broker import BrokerSettings
from wire.settings import Names
from wire.topics import camera_ids


class ResultsSettings(BrokerSettings):
    """Show what the fleet answers, live, until Ctrl-C.

    nanofleet results
    nanofleet results --camera door,garden --label cat --min-confidence 0.5
    nanofleet results --json | jq -r '[.topic, .label] | @tsv'
    nanofleet results --count 1 --timeout 10 > /dev/null || echo "nothing is answered"

    Filters add up. A label is found by whole words, in either case: cat finds "Egyptian cat", and not
    "catamaran". A rejection has no label and no confidence: with a filter on those, rejections are shown only
    with --rejections.

    The exit code is 0 after Ctrl-C, after --count answers, or after --timeout without a --count if one was
    shown; it is 1 if --timeout ends it before.
    """

    camera: Names = Field([], description="Only these cameras: --camera door,garden")
    label: Names = Field([], description="Only answers with one of these labels: --label cat,dog")
    min_confidence: float = Field(0.0, ge=0, le=1, description="Only answers at least so sure of the label")
    rejections: bool = Field(True, description="Show rejections as well")
    json_: bool = Field(
        False, description="Print each message as one line of JSON, with its `topic`, and nothing else"
    )
    count: Optional[int] = Field(None, ge=1, description="End after so many")
    timeout: Optional[float] = Field(
        None, gt=0, description="End after so many seconds (default: never, once the broker was reached)"
    )

    @field_validator("camera")
    @classmethod
    def _cameras_are_ids(cls, cameras: List[str]) -> List[str]:
        return camera_ids(cameras)

    @property
    def shows_rejections(self) -> bool:
        """Whether rejections are shown."""
        asked = "rejections" in self.model_fields_set
        return self.rejections and (asked or not (self.label or self.min_confidence))
