"""Files and names that are no checkpoint of torchvision's: what they are, and the next step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, Iterable, List, Optional

SAVE = "torch.save(model.state_dict(), 'weights.pth')"


def export_lines(model: str = "model") -> str:
    """The Python that makes an ONNX file of a module, to be run where it was trained.

    Args:
        model: the Python that gives the module.
    """
    given = "" if model == "model" else f"  model = {model}\n"
    return (
        f"{given}  torch.onnx.export(model.eval().cpu(), (torch.zeros(1, 3, 224, 224),), 'model.onnx', "
        "input_names=['image'], dynamic_axes={'image': {0: 'batch'}})\n"
        "and give it as --model model.onnx, with the preprocessing of its training (--resize, --crop, --fit, "
        "--scaling)"
    )


EXPORT = f"In the environment where it was trained, export it to ONNX:\n  import torch\n{export_lines()}"
_KERAS = (
    "a model of Keras. Where it was trained, export it to ONNX:\n"
    "  model.export('model.onnx', format='onnx')   # Keras 3; before: python -m tf2onnx.convert "
    "--saved-model FOLDER --output model.onnx\n"
    "and give it as --model model.onnx, with the preprocessing of its training"
)
_TFLITE = (
    "a TensorFlow Lite model: convert it with `python -m tf2onnx.convert --tflite model.tflite --output "
    "model.onnx`, and give it as --model model.onnx"
)
_ENGINE = (
    "a TensorRT engine, made for one GPU and one release: give the ONNX file that it was built from, as "
    "--model model.onnx"
)
_PT2 = (
    "an archive of torch.export, which is a program. Where it was made, export it to ONNX:\n  import torch\n"
    "  model = torch.export.load({name!r}).module()\n"
    "  torch.onnx.export(torch.export.load({name!r}), 'model.onnx', dynamo=True)\n"
    "and give it as --model model.onnx, with the preprocessing of its training"
).replace("  model = torch.export.load({name!r}).module()\n", "")
_SCRIPT = (
    "a TorchScript archive, which is code. Where it was made, save its tensors:\n"
    "  model = torch.jit.load({name!r})\n  " + SAVE
)
_ULTRALYTICS = (
    "a model of Ultralytics. Where it was trained, export it to ONNX:\n"
    "  yolo export model={name} format=onnx\nand give that file as --model"
)
_CORE_ML = (
    "a Core ML model: export the model that it was made from to ONNX, and give it as --model model.onnx"
)
_ONNX = "an ONNX file: give it alone, as --model {name}"

#: Endings of other tools' files; `canonical` meets them as --model.
_SUFFIXES = {
    (".h5", ".hdf5", ".keras"): _KERAS,
    (".tflite", ".lite"): _TFLITE,
    (".engine", ".plan", ".trt"): _ENGINE,
    (".mlmodel", ".mlpackage"): _CORE_ML,
    (".pt2",): _PT2,
    (".pb",): _KERAS.replace("Keras", "TensorFlow"),
}
_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".pkl", ".tar", ".pickle", ".weights")


def refusal(head: bytes, path: Path) -> Optional[str]:
    """The kind of a file by its first kilobyte, and what to do; None for what may be a checkpoint."""
    start = head.lstrip()[:256].lower()
    if not head:
        return "not a checkpoint, or a damaged one: it is empty"
    if head.startswith(b"version https://git-lfs.github.com/spec"):
        return "a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "not a checkpoint, or a damaged one: it is a web page: the download went wrong"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _KERAS
    if head[4:8] == b"TFL3":
        return _TFLITE
    if head[:4] in (b"ptrt", b"ftrt"):
        return _ENGINE
    if (
        head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!"))
        or head[257:262] == b"ustar"
    ):
        return "an archive: unpack it, and give the checkpoint that is in it"
    # ir_version, then the field of the producer, the opset or the graph.
    if re.match(rb"\x08[\x01-\x20][\x12\x3a\x42\x2a\x1a\x22]", head):
        return _ONNX.format(name=path.name)
    return None


def refused_archive(names: List[str], path: Path) -> Optional[str]:
    """The same of a zip, by the names in it."""
    if any("/code/" in name or name.startswith("code/") for name in names):
        return _SCRIPT.format(name=path.name)
    ends = {name.rpartition("/")[2] for name in names}
    if "serialized_exported_program.json" in ends or "archive_format" in ends:
        return _PT2.format(name=path.name)
    if "model.weights.h5" in ends:
        return _KERAS
    inside = [name for name in names if name.endswith(_CHECKPOINTS)]
    if inside and not any(name.endswith("data.pkl") for name in names):
        return f"an archive: unpack it, and give the checkpoint that is in it ({inside[0]})"
    return None


def refused_maker(makers: List[str], path: Path) -> Optional[str]:
    """The same of a pickle, by what it would import."""
    if any(name.startswith(("ultralytics.", "models.yolo.")) for name in makers):
        return _ULTRALYTICS.format(name=path.name)
    return None


def about_name(name: str) -> Optional[str]:
    """The kind of a --model that is neither a NAME nor a FILE.onnx; None where nothing is known of it."""
    lower = name.lower()
    file = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    for suffixes, what in _SUFFIXES.items():
        if lower.endswith(suffixes):
            return f"{name}: {what.format(name=file)}"
    if lower.endswith(_CHECKPOINTS):
        return (
            f"{name} is a checkpoint: --model NAME@{name} says whose weights it holds, as resnet18@{name} "
            "(`nanofleet models list` shows the names)"
        )
    if lower.endswith((".onnx.data", ".onnx_data")):
        return f"{name} holds weights of an ONNX file: give that one, and keep this one beside it"
    if _is_there(name, Path.is_dir):
        return f"{name} is a folder: give a file, as NAME@{name.rstrip('/')}/model.safetensors, or FILE.onnx"
    if _is_there(name, Path.is_file):
        return f"{name} is a file: --model NAME@{name} for a checkpoint of torchvision's NAME, or FILE.onnx"
    if lower.startswith(("timm/", "hf_hub:", "hf-hub:", "timm:")) or _looks_like_timm(lower):
        made = f"timm.create_model({re.sub('^timm[/:]', '', name)!r}, pretrained=True)"
        return (
            f"{name} looks like a model of timm, which nanofleet does not bring. Where timm is installed, "
            f"export it to ONNX:\n  import timm, torch\n{export_lines(made)} "
            "as timm.data.resolve_model_data_config(model) prints it"
        )
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return (
            f"{name} looks like a model of Hugging Face's hub. Where `optimum[onnxruntime]` is installed, "
            f"export it to ONNX:\n  optimum-cli export onnx --model {name} exported/\n"
            "and give it as --model exported/model.onnx --labels exported/config.json, with the "
            "preprocessing in exported/preprocessor_config.json (--resize, --crop, --fit, --scaling)"
        )
    return None


def _is_there(name: str, asked: Callable[[Path], bool]) -> bool:
    try:
        return asked(Path(name))
    except (OSError, ValueError):  # a name that no file can have is none
        return False


def about_tensors(names: Iterable[str], file: str) -> str:
    """How to export a network that is not torchvision's, by the names of its tensors."""
    joined = "\n".join(names)
    if re.search(r"(^|\.)(embedder|embeddings)\.", joined, re.MULTILINE):
        return (
            "Its names are those of Hugging Face's transformers. Where `optimum[onnxruntime]` is installed, "
            "export the folder that it lies in, with its config.json, to ONNX:\n"
            "  optimum-cli export onnx --model FOLDER --task image-classification exported/\n"
            "and give it as --model exported/model.onnx --labels FOLDER/config.json"
        )
    if re.search(r"(^|\.)(conv_stem|patch_embed|blocks\.\d+|stages\.\d+)\.", joined, re.MULTILINE):
        made = f"timm.create_model('NAME', num_classes=N, checkpoint_path={file!r})"
        return (
            "Its names are like those of timm. Where timm is installed, export it to ONNX:\n"
            f"  import timm, torch\n{export_lines(made)}"
        )
    return EXPORT


def _looks_like_timm(name: str) -> bool:
    # A tag behind a dot, the patch and the size of its transformers, or the prefix of a family.
    return bool(
        re.search(
            r"_patch\d+_|_in(1k|21k|22k)\b|^(tf_|eva|deit|beit|mobilevit|ghostnet|seresn|legacy_)", name
        )
        or re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+", name)
    )
