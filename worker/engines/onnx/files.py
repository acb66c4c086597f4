"""An ONNX model as files: FILE.onnx, and those that its weights lie in (external data).

FILE.onnx ── names ──> weights.data ...     all of them are the model: for its hash, for the check whether
                                            it was replaced, and for where its files may lie
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from wire.errors import SettingsError
from worker.models.foreign import by_content

#: Bytes of a model with all its weights, at most: of a protobuf.
LARGEST = (1 << 31) - (1 << 20)


def is_onnx(model: str) -> bool:
    """Whether `--model` names an ONNX file."""
    return model.lower().endswith(".onnx")


def _read(path: Path) -> Tuple[Any, bytes]:
    """The ModelProto of a file, without its external data, and its bytes."""
    try:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from onnx import ModelProto
    except ImportError as error:
        raise SettingsError(f"{path} is read with the package onnx: pip install onnx ({error})") from error
    try:
        found = by_content(path)
        if found:
            raise SettingsError(found)
        model = ModelProto()
        content = path.read_bytes()
        model.ParseFromString(content)
    except OSError as error:
        at = "; an ONNX file is named alone, without NAME@ before it" if "@" in path.name else ""
        raise SettingsError(f"weights file {path}: {error.strerror or error}{at}") from error
    except DecodeError:
        raise SettingsError(
            f"{path} is no ONNX model, or a damaged one: compare its size and its SHA-256 with the original's"
        ) from None
    if not model.ir_version or not model.HasField("graph") or not model.graph.node:
        raise SettingsError(
            f"{path} is no ONNX model: it has no graph; weights alone are no model, export it again"
        )
    return model, content


def external_files(path: Path, model: Any) -> List[Path]:
    """The files that a model's weights lie in, each once, in order of their names.

    Raises:
        SettingsError: one of them is not there, or does not lie below the .onnx's folder.
    """
    folder = path.parent
    found = []
    for location, size in sorted(_locations(model).items()):
        file = folder / location
        if not _is_below(folder, location):
            raise SettingsError(
                f"{path} wants weights from {location}, which is not below its own folder: put them beside "
                "it, and export it so that it names them there"
            )
        if not file.is_file():
            raise SettingsError(
                f"{path} keeps its weights in {location}, which is not there: copy it to {file} "
                "(both files are the model)"
            )
        if file.stat().st_size < size:
            raise SettingsError(
                f"{path} keeps {size} bytes of weights in {location}, and {file.stat().st_size} are there: "
                "copy it again (of a Git LFS pointer, git lfs pull fetches the file)"
            )
        found.append(file)
    return found


class OtherBytes(SettingsError):
    """A file's SHA-256 is another than the one that was asked for."""


class Loaded(NamedTuple):
    """A model whose files need not be there any more."""

    #: A ModelProto, with all its weights.
    proto: Any
    #: The same, as onnxruntime reads it.
    content: bytes
    sha256: str


def load_onnx(path: Path, expected: Optional[str]) -> Loaded:
    """Read all files of a model, each once: what is hashed is what runs.

    onnxruntime would map external files into its memory, where what is written into them later shows: other
    weights, or the end of the process. Therefore they are taken into the model.

    The SHA-256 of several files is that of the lines which sha256sum prints of each, the .onnx first, then
    the external files in order of their names:
    `sha256sum model.onnx model.onnx.data | cut -c1-64 | sha256sum`.

    Args:
        path: the .onnx.
        expected: its SHA-256, if that is pinned.

    Raises:
        SettingsError: a file cannot be read, is too large, or is no model.
        OtherBytes: the hash is another one.
    """
    proto, content = _read(path)
    external = external_files(path, proto)
    try:
        size = sum(file.stat().st_size for file in [path, *external])
        if size > LARGEST:
            raise SettingsError(
                f"{path} has {size >> 20} MiB of weights, and {LARGEST >> 20} are the most: export it "
                "in half precision"
            )
        hashes = [hashlib.sha256(content).hexdigest()]
        hashes += [_take_in(proto, path.parent, file) for file in external]
    except OSError as error:
        raise SettingsError(f"weights file {path}: {error.strerror or error}") from error
    found = hashes[0]
    if external:
        content = proto.SerializeToString()
        found = hashlib.sha256("".join(f"{each}\n" for each in hashes).encode()).hexdigest()
    if expected is not None and found != expected:
        names = " ".join(str(file) for file in [path, *external])
        how = f" (sha256sum {names} | cut -c1-64 | sha256sum)" if external else ""
        raise OtherBytes(f"{path} has the SHA-256 {found}{how}, and not {expected} as --sha256 demands")
    return Loaded(proto, content, found)


def _take_in(model: Any, folder: Path, file: Path) -> str:
    """Give a model the weights that lie in a file; the file's SHA-256."""
    content = file.read_bytes()
    for tensor in tensors_of(model):
        location, start, length = _place(tensor)
        if location is not None and folder / location == file:
            tensor.raw_data = content[start : None if length is None else start + length]
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
    return hashlib.sha256(content).hexdigest()


def files_of_onnx(path: Path) -> List[Path]:
    """The file and those that its weights lie in; where they cannot be read, the file alone."""
    # Without a check whether they are there: one that comes later is a change.
    try:
        model, _ = _read(path)
    except SettingsError:  # opening it says so
        return [path]
    return [path, *(path.parent / location for location in sorted(_locations(model)))]


def _is_below(folder: Path, location: str) -> bool:
    try:
        inside = folder.resolve() in (folder / location).resolve().parents
    except (OSError, ValueError):  # no file can have that name
        return False
    return inside and not Path(location).is_absolute() and len(location) < 256


def _locations(model: Any) -> Dict[str, int]:
    """The files that tensors' values lie in, and the bytes that each must have."""
    found: Dict[str, int] = {}
    for tensor in tensors_of(model):
        location, start, length = _place(tensor)
        if location is not None:
            found[location] = max(found.get(location, 0), start + (length or 0))
    return found


def _place(tensor: Any) -> Tuple[Optional[str], int, Optional[int]]:
    """The place of a tensor's values: file (None: the model itself), first byte, bytes (None: to the end)."""
    if tensor.data_location != tensor.EXTERNAL:
        return None, 0, None
    entries = {entry.key: entry.value for entry in tensor.external_data}
    start, length = (_number(entries.get(key, "")) for key in ("offset", "length"))
    return str(entries.get("location", "")), start or 0, length


def _number(text: str) -> Optional[int]:
    return int(text) if text.isdecimal() and len(text) < 20 else None


def tensors_of(model: Any) -> Iterator[Any]:
    """Every TensorProto of a model: initializers and constants, also of subgraphs and functions."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_node(node)
    for training in model.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        if attribute.HasField("g"):
            yield from _of_graph(attribute.g)
        for graph in attribute.graphs:
            yield from _of_graph(graph)
