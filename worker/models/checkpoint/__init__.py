"""Checkpoints: tensors from a file, never code; and the module that they fit.

files ──────> pickled ──────> tensors ─────────> fit ──────────────> fill
kind, by       plain data,     each state dict    the one that fits    the module
its content    nothing called  in it, unread      the architecture

things  what a pickle names and holds        names   whose tensors they are, without wrappers' words
beside  class names and preprocessing that were saved with them
advice  what else a file is, and the next step
"""
