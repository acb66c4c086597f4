"""The decoder processes, and what one image may cost them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from wire.picture.limits import MAX_PIXELS, MEMORY
from worker import cores, memory

#: Bytes of address space of a decoder process. The least is enough for a 4K picture in each format.
LEAST_DECODER_MEMORY, MOST_DECODER_MEMORY = 192 << 20, MEMORY
MOST_DECODERS = 64


class DecodingSettings(BaseModel):
    """How many decoders, and their limits."""

    max_pixels: int = Field(
        MAX_PIXELS,
        ge=1,
        description="Pixels to decode of an image, at most: all of a PNG or WebP; of a JPEG those that "
        "libjpeg's scaling leaves, so that a phone's 200 megapixels are about 3 million. A progressive JPEG, "
        "which is held in memory as a whole, must also fit into --decoder-memory",
    )
    decoders: int = Field(
        0,
        ge=0,
        le=MOST_DECODERS,
        description="Decoder processes; 0: one more than cores, at most 4; of many three fewer than those, "
        "as far as half of the machine's memory goes",
    )
    decoder_timeout: float = Field(5.0, gt=0, le=3600, description="Seconds that decoding one image may take")
    decoder_memory: int = Field(
        0,
        ge=0,
        description="Megabytes of address space of a decoder process; 0: 1024, or as many less that all "
        "together take no more than half of the machine's memory",
    )

    @property
    def decoder_count(self) -> int:
        """Decoder processes to start."""
        if self.decoders:
            return self.decoders
        machine = cores.available()
        # One more, so that no core has to wait while another decoder's pixels are handed over.
        few = min(4, machine + 1)
        # Of many cores, some are for this process's own threads, and for the broker.
        many = min(machine - 3, MOST_DECODERS, memory.total() // 2 // LEAST_DECODER_MEMORY)
        return max(few, many)

    @property
    def decoder_bytes(self) -> int:
        """Bytes of address space that a decoder process may use."""
        if self.decoder_memory:
            return self.decoder_memory * 1_000_000
        share = self.memory_share // 2 // self.decoder_count
        return max(LEAST_DECODER_MEMORY, min(share, MOST_DECODER_MEMORY))

    @property
    def memory_share(self) -> int:
        """Bytes of the machine's memory by which this process's limits go."""
        return memory.total()
