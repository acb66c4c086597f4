"""The fastest engine for a model on this machine's CPU or CUDA device, by trial: not by its name.

candidates    the libraries that are installed, in each precision that may be tried
places        what differs between a CPU and a CUDA device
race          has each of them run the model, in a process of its own, and takes the fastest that agrees
process       the main of that process: opens the model, times it, keeps its answers
pictures      what the model is shown: drawn, in the way that photographs are
verdict       the figures, the sentence that says them, and which one they speak for
kept          verdicts beside the weights: a second start has no race; by what `gpu` says of a device, too
"""
