"""The model in service: its batches, another one that takes over, and the commands that say which.

open        a choice -> a model that is tried, loaded and warm, with its decoders (loaded)
inference   the engine's threads; batcher fills their batches, job is what a picture brings along
still       a picture that hardly differs from its camera's last one is answered as that was (sketch: whether)
switch      the model that serves, and the swap to another one; comparison runs the former one beside it
commands    follows the model commands; first_command reads them at the start, last_served notes one
"""
