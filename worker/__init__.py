"""A worker: takes frames from its session with the broker, answers them, and then acks them.

processes    several front ends, each a worker, that share one engine process
service      startup, serve, drain
startup      what comes before a session: the metrics' address, the commands that the broker retains
session      what a connect, a loss, a delivery and a tick mean
reception    sorts deliveries: frames, statuses, commands
pipeline     ONE FRAME'S PATH: receive, start, done, finish, acknowledge
answers      a frame's Result, or its Rejection
snapshots    a camera's frame at which its label changed
membership   this worker among the others: its id and presence, dead workers' frames, stepping aside, actions,
             leaving
worker       what a session and its parts work with: the worker's name, settings, models, metrics
cameras      what each camera's settings say of its frames; camera_notes: kept for the next start
serving      the model in service: batches, the switch to another, the comparison of both, commands
engines      pixels -> probabilities: ONNX Runtime, PyTorch, exports, files of others' making
models       a name or a file -> a torch module, and what its outputs mean
decode       bytes -> pixels, in processes that may die (`wire.decoder`, which the publisher shares)
delivery     received, in turn, acked (unacked: the one place that acks frames, in order): crash journal,
             clocks, answers on their way
payload      a message's bytes -> the picture in it, and what stands beside it

Imports point down this list, and none back up; `delivery` and `payload` know no model. Below all of them lies
what each may use: awake, errors, life, machine, memory, metrics (and their server), settings, watchdog.
"""
