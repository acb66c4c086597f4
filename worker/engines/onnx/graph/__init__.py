"""An ONNX graph, read forward for the pixels that it takes, and backward for what its outputs are.

nodes    the graph, to look things up in
affine   what the graph does to each channel first, operator by operator (steps) ──> pixels: their scale
outputs  what its last operators make: logits, or probabilities of which kind
"""
