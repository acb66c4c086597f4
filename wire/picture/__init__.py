"""Bytes of an image -> one upright picture, the same for worker and publisher.

kinds       what the bytes are, without Pillow    limits      what decoding may cost
decoding    bytes -> Picture: limits, repairs          upright     the right way up, in RGB or grey
jpeg        the segments and scans of a JPEG          jpeg_end    how much of a JPEG is missing
png, webp   rewritten without what nobody needs       pillow      whether it is new enough

Only decoding, upright and jpeg_end import Pillow; pillow looks at it. Nothing here imports pydantic: decoder
processes start anew for hostile frames.
"""
