"""Bytes of an image -> the pixels that a model wants, in processes that may die.

pool            parent: one thread a process; a frame whose process dies is rejected as `decoder_crashed`,
                and acked
decoder         parent: the command and the limits of one process, which `wire.decoder.decoder` replaces
process         child: its main
image           child: bytes -> pixels
resizing        child: by Pillow, or faster
preprocessing   both: what the model wants

This imports nothing, because decoder processes start again for hostile frames.
"""
