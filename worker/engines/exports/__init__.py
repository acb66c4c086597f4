"""Exports: a model by its name, or a checkpoint, as the ONNX file that ONNX Runtime serves.

cache     the one way in: an export that is there, or is made now, in a process of its own
entry     KEY.onnx and KEY.json, and whether they are still what would be exported
folder    where they lie and are made, and where nobody else can have made them
process   the main of the child, which imports PyTorch; graph exports there, and compares
failures  what to say where memory runs out, or PyTorch crashes
"""
