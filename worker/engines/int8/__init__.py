"""An export in int8, calibrated on frames: only for `--precision int8`.

calibration  the frames: which of a folder, and as decoders make them
graph        the graph beside its export: one that is there, or is made now, in a process of its own
process      the main of that process, which quantises
"""
