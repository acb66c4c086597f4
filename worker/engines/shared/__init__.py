"""One process runs the models of several workers on this machine, its front ends.

front end   SharedEngine ──> a channel for each thread ──┐ pixels, rows: memory that both have
                                                         ├──────> Runner ──> Engine
front end   SharedEngine ──> a channel for each thread ──┘ fills batches from all of them

engine   a front end's side: an Engine that has its batches run there
channel  what the two say to each other, and the memory
server   the engine process's side: opens a model once, however many front ends ask for it (models)
runner   one open model: fills its batches, and runs them
alarm    limits the time of a batch, and of opening a model
pulse    shows its parent that it runs, and by when it will have done

The next engine process runs what was in the engine when this one ended alone: so it shows which batch it was.
"""
