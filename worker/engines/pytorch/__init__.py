"""The PyTorch engine: the module with its batch norms folded, and what CUDA runs it in."""
