"""Engines: pixels -> probabilities.

select           opens a model with the engine that picking picks, or the next best; base says what one is
fastest/         which of the libraries that are installed is the fastest on a CPU, by trial
close_calls      half precision of which float32 answers again what is close
pytorch/         the PyTorch engine
sessions         ONNX graphs opened by onnx_engine (ONNX Runtime) or openvino_engine (OpenVINO)
openvino_graph   the forms of a graph that OpenVINO compiles
export_engine    the engine for what exports/ makes of a model that PyTorch knows
int8/            such an export in 8 bits, calibrated on frames
onnx/            ONNX files of any tool, and the engine that runs those
trial            tries such a file in a child process first, because it may be by anyone; within limits
leftovers        what killed processes leave of all these; the next start removes it
child            a process that exports, quantises or tries, as its user has it; child_process is its own end
"""

import os

# onnxruntime's wheels from 1.29 on report to their maker from every process that imports them, unless this is
# set before. A fleet talks to its broker, and to nobody else.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
