"""How a line of the log says what it is."""

from __future__ import annotations

from typing import Dict

#: For the `extra` of a line that names a thing of the user's own, once: it is never held back, however many
#: of its kind there are. What strangers send, and what comes again and again, may not say so.
NAMED_ONCE: Dict[str, bool] = {"named_once": True}
