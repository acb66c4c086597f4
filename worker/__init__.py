"""One frame's path: from the inbox through decoder, batcher and engine to the outbox.

payload   a message's bytes -> the picture in it, and what stands beside it
decode    bytes -> pixels, in processes that may die
models    a name or a file -> a torch module, and what its answers mean
engines   pixels -> probabilities

The rooms import one way: `decode <- models <- engines <-` the rest.
"""
