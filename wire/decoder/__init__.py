"""Decoding in a child process, which may die, hang or be taken over by a picture.

decoder    replaces the process after whatever a picture has done to it          parent
child      one process: its pipes, its memory (memory), its replies             parent
limit      the time that it has                                                 parent
process    jobs on stdin, replies on stdout, what came of them in the memory    child
fence      what it may ask of the kernel meanwhile                              child
shrinker   pictures made small, by the process whose main is shrink             parent

A child imports `process`, `fence` and its main alone: one that a hostile picture has ended is replaced.
"""
