"""A worker: takes frames from its session with the broker, answers them, and then acks them.

service      startup, serve, drain
session      what a connect, a loss, a delivery and a tick mean
reception    tells deliveries apart: frames, statuses, commands
pipeline     ONE FRAME'S PATH: receive, start, done, finish, acknowledge
membership   this worker among the others: its id and status, dead workers' frames, stepping aside, leaving
serving      the model in service: batches, the swap to another, the comparison with the former one, commands
engines      pixels -> probabilities: ONNX Runtime, PyTorch, exports, files of others' making
models       a name or a file -> a torch module, and what its answers mean
decode       bytes -> pixels, in processes that may die
delivery     received, in turn, acked: frames in hand, crash journal, clocks, answers on their way
payload      a message's bytes -> the picture in it, and what stands beside it

Imports point down this list, and none back up; `delivery` and `payload` know no model.
"""
