"""ONNX files as any tool writes them: `file` opens one, and says what each module is for."""
