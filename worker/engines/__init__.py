"""Engines: pixels -> probabilities."""

import os

# onnxruntime's wheels from 1.29 on report to their maker from every process that imports them, unless this is
# set before. A fleet talks to its broker, and to nobody else.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
