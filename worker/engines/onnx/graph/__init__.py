"""What an ONNX graph says of itself: its pixels, read forward from the input, and its outputs, read backward.

nodes    the graph, to look things up in
affine   what the graph does to each channel first, operator by operator (steps) ──> pixels: their scale
outputs  what its last operators make: logits, or probabilities of which kind
"""
