"""Whether a machine's clock has been set."""

from __future__ import annotations

from datetime import datetime, timezone

#: A clock that shows an earlier time was not set yet: a machine without a battery begins in 1970.
SET_AFTER = datetime(2020, 1, 1, tzinfo=timezone.utc)
