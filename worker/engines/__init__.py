"""Engines: pixels -> probabilities.

select        opens a model with the engine that picking picks, or with the next best; base says what one is
pytorch/      the PyTorch engine
onnx_engine   the ONNX Runtime engine, for what exports/ makes of a model that PyTorch knows
onnx/         ONNX files of any tool, and the engine that runs those
trial         tries such a file in a child process first, because it may be by anyone
child         a process that exports or tries, as its user has it; child_process is its own end
"""

import os

# onnxruntime's wheels from 1.29 on report to their maker from every process that imports them, unless this is
# set before. A fleet talks to its broker, and to nobody else.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
