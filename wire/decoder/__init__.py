"""Decoding in a process of its own, which may die, hang or be taken over by a picture.

decoder    a process that is there again after whatever a picture did to it     parent
child      one process: its pipes, its memory (memory), its replies             parent
process    jobs on stdin, replies on stdout, what came of them in the memory    child
fence      what it may ask of the kernel meanwhile                              child

A child imports `process` and `fence` alone: it starts anew for hostile pictures.
"""
