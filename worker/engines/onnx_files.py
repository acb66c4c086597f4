"""An ONNX model as files: FILE.onnx, and those that its weights lie in (external data).

FILE.onnx ── names ──> weights.data ...     all of them are the model: for its hash, for the check whether
                                            it was replaced, and for where its files may lie
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from wire.errors import SettingsError
from worker.models.foreign import by_content
from worker.models.weights import sha256_of


def is_onnx(model: str) -> bool:
    """Whether `--model` names an ONNX file."""
    return model.lower().endswith(".onnx")


def read_onnx(path: Path) -> Any:
    """The ModelProto of a file, without its external data.

    Raises:
        SettingsError: there is no such file, or it is something else.
    """
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
        model.ParseFromString(path.read_bytes())
    except OSError as error:
        at = "; an ONNX file is named alone, without NAME@ before it" if "@" in path.name else ""
        raise SettingsError(f"weights file {path}: {error.strerror or error}{at}") from error
    except DecodeError:
        raise SettingsError(
            f"{path} is no ONNX model, or a damaged one: compare its size and its SHA-256 with the original's"
        ) from None
    if not model.ir_version or not model.HasField("graph") or not model.graph.node:
        raise SettingsError(
            f"{path} is no ONNX model: it has no graph; weights alone are no model, export it anew"
        )
    return model


def external_files(path: Path, model: Any) -> List[Path]:
    """The files that a model's weights lie in, each once, in order of their names.

    Raises:
        SettingsError: one of them is not there, or does not lie below the .onnx's folder.
    """
    folder = path.parent
    found = []
    for location, size in sorted(_locations(model).items()):
        file = folder / location
        if Path(location).is_absolute() or folder.resolve() not in file.resolve().parents:
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


def sha256_of_files(path: Path, external: List[Path]) -> str:
    """The SHA-256 of a model: of its file; of several, that of the lines which sha256sum prints of each.

    `sha256sum model.onnx model.onnx.data | cut -c1-64 | sha256sum` makes the same, with the external files
    in order of their names.

    Raises:
        OSError: one of them cannot be read.
    """
    hashes = [sha256_of(file) for file in [path, *external]]
    if not external:
        return hashes[0]
    return hashlib.sha256("".join(f"{found}\n" for found in hashes).encode()).hexdigest()


def check_onnx_sha256(path: Path, external: List[Path], expected: Optional[str]) -> str:
    """The SHA-256 of a model's files; see `sha256_of_files`.

    Raises:
        SettingsError: it is another one than expected.
    """
    try:
        found = sha256_of_files(path, external)
    except OSError as error:
        raise SettingsError(f"weights file {path}: {error.strerror or error}") from error
    if expected is not None and found != expected:
        names = " ".join(str(file) for file in [path, *external])
        how = f" (sha256sum {names} | cut -c1-64 | sha256sum)" if external else ""
        raise SettingsError(f"{path} has the SHA-256 {found}{how}, and not {expected} as --sha256 demands")
    return found


def files_of_onnx(path: Path) -> List[Path]:
    """The file and those that its weights lie in; where that cannot be told, the file alone."""
    try:
        stat = path.stat()
        external = _external(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    except OSError:
        return [path]  # opening it says so
    return [path, *external]


@lru_cache(maxsize=8)
def _external(path: Path, *_version: int) -> Tuple[Path, ...]:
    # Without a check whether they are there: one that comes later is a change.
    try:
        model = read_onnx(path)
    except SettingsError:  # opening it says so
        return ()
    return tuple(path.parent / location for location in sorted(_locations(model)))


def _locations(model: Any) -> Dict[str, int]:
    """The files that tensors' values lie in, and the bytes that each must have."""
    found: Dict[str, int] = {}
    for tensor in tensors_of(model):
        if tensor.data_location == tensor.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            numbers = [entries.get(key, "") for key in ("offset", "length")]
            end = sum(int(number) for number in numbers if number.isdecimal() and len(number) < 20)
            location = str(entries.get("location", ""))
            found[location] = max(found.get(location, 0), end)
    return found


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
