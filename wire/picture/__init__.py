"""Bytes of an image -> one upright picture, the same for worker and publisher.

decoding    bytes -> Picture: the story           formats     each format, and its repairs
kinds       what the bytes are, without Pillow    budget      what one may cost; limits: by default
jpeg        the segments and scans of a JPEG      jpeg_end    how much of a JPEG is missing
png, webp   rewritten without what nobody needs   upright     the right way up, in RGB or grey
pillow      whether Pillow is new enough          errors      why no picture came of the bytes
bare        whether a file holds nothing else     region      the part of a picture that is wanted
jpeg_loading    how Pillow loads a JPEG fastest

Nothing here imports pydantic: decoder processes restart often where frames are hostile.
"""
