"""Libraries under OpenVINO's name, that behave as one may: processes that import `openvino` find them."""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from worker.engines import openvino_engine

#: OpenVINO comes with the extra; a contributor may do without.
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None and not os.environ.get("CI"), reason="pip install openvino"
)

#: It answers what ONNX Runtime answers, and at once where it has seen a batch before: the fastest of all. One
#: that `rounds` does so in 16 bits alone, and less exactly.
_LIBRARY = """
import errno, os, signal, sys, zlib
from types import SimpleNamespace
import numpy as np
import onnxruntime

ROUNDS = BEHAVIOUR.startswith("rounds")
if BEHAVIOUR == "crashes":
    os.kill(os.getpid(), signal.SIGILL)
if BEHAVIOUR == "is killed":
    os.kill(os.getpid(), signal.SIGKILL)
in_a_race = sys.argv[0].endswith("fastest/process.py")
if BEHAVIOUR == "rounds, and is killed beside another" and in_a_race and sys.argv[4]:
    os.kill(os.getpid(), signal.SIGKILL)
if BEHAVIOUR == "hangs":
    signal.pause()
if BEHAVIOUR == "is half upgraded":
    raise ImportError("libopenvino.so: cannot open shared object file")


def Tensor(array):
    return SimpleNamespace(data=array)


class Core:
    def get_property(self, device, name):
        return ["FP32", "FP16", *(["BF16"] if BEHAVIOUR == "refuses float16" else [])]

    def read_model(self, model):
        return Model(model)

    def compile_model(self, model, device, settings):
        if BEHAVIOUR == "is greedy":
            self.all = np.ones(1 << 36, np.uint8)
        if BEHAVIOUR == "finds a full disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if BEHAVIOUR == "refuses float16" and settings["INFERENCE_PRECISION_HINT"] == "f16":
            raise RuntimeError("no kernel")
        if BEHAVIOUR == "refuses":
            raise RuntimeError("Check 'x' failed\\nno such operator")
        rounds = ROUNDS and settings["INFERENCE_PRECISION_HINT"] == "f16"
        return Compiled(model, rounds)


class Model:  # of any rank, and without layers: neither compiled for each size of batch nor cut
    def __init__(self, file):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # others spin while they wait, which is measured as its time
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs = [port(each, TYPES[each.type]) for each in self.session.get_inputs()]
        self.outputs = [port(each, "f32") for each in self.session.get_outputs()]

    def clone(self):
        return self

    def input(self, number):
        shape = SimpleNamespace(rank=SimpleNamespace(is_dynamic=True))
        return SimpleNamespace(get_partial_shape=lambda: shape)

    def get_ordered_ops(self):
        return []


TYPES = {"tensor(uint8)": "u8", "tensor(float)": "f32"}


def port(of, name):
    dimensions = [SimpleNamespace(is_static=isinstance(n, int), get_length=lambda n=n: n) for n in of.shape]
    return SimpleNamespace(
        get_any_name=lambda: of.name,
        get_element_type=lambda: SimpleNamespace(get_type_name=lambda: name),
        get_partial_shape=lambda: dimensions,
    )


def rounded(answers, images):
    if BEHAVIOUR == "rounds upwards":
        return answers + np.float32(0.03)
    # Gaps move by up to 0.2, and by the same each time.
    bits = np.array([zlib.crc32(image) for image in images])[:, None] >> np.arange(answers.shape[1]) & 1
    moved = answers * np.exp(0.2 * bits)
    return (moved / moved.sum(1, keepdims=True)).astype(np.float32)


class Compiled:
    def __init__(self, model, rounds):
        self.session, self.known, self.rounds = model.session, {}, rounds
        self.outputs = model.outputs

    def create_infer_request(self):
        return self

    def infer(self, images, share_inputs, share_outputs):
        seen = (images[0].shape, zlib.crc32(images[0]))
        if seen not in self.known or (ROUNDS and not self.rounds):
            feed = {self.session.get_inputs()[0].name: images[0]}
            self.known[seen] = self.session.run(None, feed)[0]
            if self.rounds:
                self.known[seen] = rounded(self.known[seen], images[0])
        answers = self.known[seen]
        return [answers[:, ::-1] if BEHAVIOUR == "is wrong" else answers]
"""


def library(folder: Path, behaviour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install such a library for this process and those that it starts.

    Args:
        folder: where it is written.
        behaviour: `is right`, `is wrong`, `rounds`, `is greedy`, `crashes`, or one more of those above.
        monkeypatch: the test's.
    """
    package = folder / "library" / "openvino"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"BEHAVIOUR = {behaviour!r}\n{_LIBRARY}", encoding="utf-8")
    monkeypatch.syspath_prepend(str(package.parent))
    # What this process has imported under the name comes back after the test.
    monkeypatch.setitem(sys.modules, "openvino", None)
    del sys.modules["openvino"]
    imports = openvino_engine._core.__wrapped__
    monkeypatch.setattr(openvino_engine, "_core", lru_cache(maxsize=None)(imports))
    others = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), *([others] if others else [])]))
    release(package.parent, "1.0")


def release(folder: Path, version: str) -> None:
    """Say which release of it is installed in a folder."""
    for old in folder.glob("openvino-*.dist-info"):
        old.rename(folder / f"openvino-{version}.dist-info")
    information = folder / f"openvino-{version}.dist-info"
    information.mkdir(exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: openvino\nVersion: {version}\n"
    (information / "METADATA").write_text(text, encoding="utf-8")
