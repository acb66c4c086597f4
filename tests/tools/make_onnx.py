"""Writes small ONNX files with the tools that people train and export with, and what each tool answers.

    PYTHON tests/tools/make_onnx.py [NAME ...]

PYTHON is that of an environment of its own, with what is not nanofleet's: ultralytics, keras, tensorflow-cpu,
tf2onnx, skl2onnx, scikit-learn, timm, transformers beside torch, onnx, onnxruntime. Each maker is a process.
The files lie in `files/`, and `files/expected.json` says of each which flags it needs and what the tool
itself answers for which pictures. `test_onnx_files.py` runs them; nothing but this script needs the tools.

Networks are tiny, seeded, and trained in one step: their head is fitted to find which of red, green and blue
a picture has most of. Pictures are chosen so that other pixels than the right ones change the label.

Written with: ultralytics 8.4.190, keras 3.15.1, tensorflow 2.21.0, tf2onnx 1.17.0, skl2onnx 1.20.0,
scikit-learn 1.9.1, timm 1.0.31, transformers 5.24.0, torch 2.14.1, onnx 1.23.2, onnxruntime 1.32.0.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Dict

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

#: Each file's maker, and the module that it is in.
MAKERS: Dict[str, str] = {
    "torch_dynamo": "of_torch",
    "torch_bce": "of_torch",
    "timm_export": "of_torch",
    "transformers_export": "of_torch",
    "ultralytics_export": "of_others",
    "onnxruntime_static": "of_others",
    "keras_rescaling": "of_keras",
    "keras_normalization": "of_keras",
    "keras_savedmodel": "of_keras",
    "keras_sigmoid": "of_keras",
    "keras_mobilenet": "of_keras",
    "keras_unit": "of_keras",
    "keras_caffe": "of_keras",
    "keras_binary": "of_keras",
    "tflite_quantized": "of_others",
    "sklearn_zipmap": "of_others",
}


def main() -> None:
    """Make the files that are named, or all."""
    names = sys.argv[1:] or list(MAKERS)
    if len(names) == 1:
        warnings.simplefilter("ignore")
        getattr(importlib.import_module(MAKERS[names[0]]), names[0])()
        return
    failed = [name for name in names if subprocess.run([sys.executable, __file__, name]).returncode]
    sys.exit(f"not made: {' '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
