"""What decoding a picture may cost by default."""

from __future__ import annotations

#: Pixels to decode, at most: all that were sent, or of a JPEG those that libjpeg's scaling leaves.
MAX_PIXELS = 64_000_000
#: Bytes of memory.
MEMORY = 1 << 30
