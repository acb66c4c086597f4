"""Files that are no model which can be run here: what they are, and the next step.

Known by how they begin, and, where a name is all there is, by how that ends.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Dict, Optional

_EXPORT = "export it to ONNX where it was trained, and give the .onnx"
#: The kind of file with this ending (in lower case), and what to do.
_ENDINGS: Dict[str, str] = {
    ".pb": f"a TensorFlow graph: {_EXPORT} "
    "(python -m tf2onnx.convert --saved-model FOLDER --output model.onnx)",
    ".tflite": "a TensorFlow Lite model: bring it into ONNX "
    "(python -m tf2onnx.convert --tflite model.tflite --output model.onnx)",
    ".h5": f'a Keras model: {_EXPORT} (model.export("model.onnx", format="onnx"))',
    ".hdf5": f'a Keras model: {_EXPORT} (model.export("model.onnx", format="onnx"))',
    ".keras": f'a Keras model: {_EXPORT} (model.export("model.onnx", format="onnx"))',
    ".engine": "a TensorRT engine, which runs only where it was built: give the .onnx that it was built from",
    ".trt": "a TensorRT engine, which runs only where it was built: give the .onnx that it was built from",
    ".plan": "a TensorRT engine, which runs only where it was built: give the .onnx that it was built from",
    ".pt2": "a program of torch.export: export it to ONNX instead (torch.onnx.export(model, (example,), "
    '"model.onnx")), and give the .onnx',
    ".torchscript": "a TorchScript program: export the model to ONNX instead (torch.onnx.export), "
    "and give the .onnx",
    ".ptl": "a TorchScript program for phones: export the model to ONNX instead (torch.onnx.export), "
    "and give the .onnx",
    ".ort": "onnxruntime's own reduced format, which does not tell what goes in and out: give the .onnx "
    "that it was made from",
    ".xml": "an OpenVINO model: give the .onnx that it was made from",
    ".bin.gz": "a compressed file: unpack it",
    ".onnx.gz": "a compressed file: unpack it (gunzip), and give the .onnx",
    ".onnx.zip": "an archive: unpack it (unzip), and give the .onnx",
    ".onnx.data": "the weights of an ONNX file, without the model: give the .onnx that lies beside it",
    ".onnx_data": "the weights of an ONNX file, without the model: give the .onnx that lies beside it",
    ".mlmodel": f"a Core ML model: {_EXPORT}",
    ".mlpackage": f"a Core ML model: {_EXPORT}",
    ".caffemodel": f"a Caffe model: {_EXPORT}",
    ".pdmodel": "a PaddlePaddle model: bring it into ONNX (paddle2onnx), and give the .onnx",
    ".pdiparams": "a PaddlePaddle model: bring it into ONNX (paddle2onnx), and give the .onnx",
    ".joblib": "a pickled model, which can run any code: bring it into ONNX (skl2onnx), and give the .onnx",
    ".mar": f"a TorchServe archive: {_EXPORT}",
    ".param": "an ncnn model: give the .onnx that it was made from",
    ".hef": "a model for Hailo's chips: give the .onnx that it was made from",
}

_LFS = b"version https://git-lfs.github.com/spec"


def by_name(model: str) -> Optional[str]:
    """The kind of file that `--model` names, where its ending says that it cannot be run; None otherwise."""
    lower = model.lower()
    found = [ending for ending in _ENDINGS if lower.endswith(ending)]
    return f"{model} is {_ENDINGS[max(found, key=len)]}" if found else None


def by_content(path: Path) -> Optional[str]:
    """The kind of a file that is no model, by its first bytes; None where they do not say.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(512)
    what = _text(begin, path) or _binary(begin)
    if what is None and begin.startswith(b"PK\x03\x04"):
        what = _archive(path)
    return f"{path} is {what}" if what else None


def _text(begin: bytes, path: Path) -> Optional[str]:
    if not begin:
        return "empty: copy or download it again"
    if begin.startswith(_LFS):
        return (
            "a Git LFS pointer, which stands for the file: fetch the file itself, with `git lfs pull` in its "
            "repository"
        )
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, as a download that wants a login or another address leaves: download it again"
    if text.startswith(b"<?xml"):
        return "XML, and no ONNX model: of OpenVINO's, give the .onnx that it was made from"
    if path.suffix.lower() == ".onnx" and text.startswith((b'{"', b"{\n", b"[")):
        return "JSON, as a server's error message is: download it again"
    return None


def _binary(begin: bytes) -> Optional[str]:
    if begin[4:8] == b"TFL3":
        return _ENDINGS[".tflite"]
    if begin[4:8] == b"ORTM":
        return _ENDINGS[".ort"]
    if begin.startswith(b"\x89HDF\r\n\x1a\n"):
        return _ENDINGS[".keras"]
    if begin.startswith((b"ftrt", b"ptrt")):
        return _ENDINGS[".engine"]
    if begin.startswith(b"\x1f\x8b"):
        return "a compressed file: unpack it (gunzip)"
    if begin[8:10] == b'{"' and not any(begin[5:8]):
        return (
            "a safetensors file, weights without a model: give it as NAME@FILE.safetensors, or export to ONNX"
        )
    if begin.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "a pickle, as PyTorch and scikit-learn write: " + _EXPORT
    return None


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "an archive, and a damaged one: copy or download it again"
    ends = {name.split("/", 1)[-1] for name in names}
    if "constants.pkl" in ends:
        return _ENDINGS[".torchscript"]
    if "data.pkl" in ends:
        return (
            "a PyTorch checkpoint: give it as NAME@FILE.pth, or export the model to ONNX (torch.onnx.export)"
        )
    if "config.json" in ends and "metadata.json" in ends:
        return _ENDINGS[".keras"]
    if any(name.endswith(("archive_format", ".pt2")) for name in names):
        return _ENDINGS[".pt2"]
    return "an archive: unpack it, and give the model that is in it"
