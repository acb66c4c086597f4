"""ONNX files as any tool writes them: see file."""
