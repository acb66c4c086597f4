"""The kind of file that a checkpoint is, by its content, and what it holds.

.safetensors ────────────────────────> names and tensors
zip of PyTorch (since 1.6) ── pickle ─> plain data; the tensors' numbers in entries of their own
PyTorch before 1.6, plain pickle ─────> plain data; the numbers behind it
anything else ────────────────────────> a sentence that says what it is, and what to do
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, Optional, Tuple

import torch

from wire.errors import SettingsError
from worker.models.checkpoint import advice
from worker.models.checkpoint.pickled import Stream, read_pickle
from worker.models.checkpoint.tensors import ITEM_SIZES, Lazy, Storages, storage_type
from worker.models.checkpoint.things import Global, Malformed, Persistent, Thing

#: Bytes of a zip's pickle, at most.
_LARGEST_PICKLE = 256 << 20
# Numbers with which PyTorch's format before 1.6 begins.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


class Opened:
    """A checkpoint's content: plain data and Things; `storages` reads the numbers of its tensors."""

    def __init__(self, root: Any, storages: Optional[Storages] = None) -> None:
        self.root = root
        self.storages = storages or Storages({})


def open_checkpoint(path: Path) -> Opened:
    """Look into a file of weights, without running anything that it holds.

    Raises:
        SettingsError: the file cannot be read, or is no checkpoint; the text says what it is.
    """
    try:
        with path.open("rb") as file:
            head = file.read(1024)
            refusal = advice.refusal(head, path)
            if refusal is not None:
                raise SettingsError(f"{path}: {refusal}")
            if head.startswith(b"PK"):
                return _zip(path)
            if head[8:9] == b"{":
                return _safetensors(path)
            if head.startswith(b"\x80"):
                file.seek(0)
                return _pickle(file, path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except Malformed as error:
        raise SettingsError(f"{path}: not a checkpoint, or a damaged one: {error}") from error
    raise SettingsError(f"{path}: not a checkpoint, or a damaged one: it begins with {head[:8]!r}")


def _safetensors(path: Path) -> Opened:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            loaded = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            metadata: Dict[str, Any] = dict(file.metadata() or {})
    except SafetensorError as error:
        raise Malformed(str(error)) from error
    for name, text in metadata.items():  # they can only be text: tools put JSON into them
        try:
            metadata[name] = json.loads(text)
        except (ValueError, RecursionError):
            continue
    tensors = {
        name: Lazy(tuple(value.shape), value.dtype, partial(_given, value)) for name, value in loaded.items()
    }
    # Beside them, because a tensor may have any name.
    return Opened(tensors if not metadata else {"": tensors, "__metadata__": metadata})


def _given(value: torch.Tensor) -> torch.Tensor:
    return value


def _zip(path: Path) -> Opened:
    with _damage_is_malformed(), zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    refusal = advice.refused_archive(list(entries), path)
    if refusal is not None:
        raise SettingsError(f"{path}: {refusal}")
    pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Malformed("an archive without a checkpoint in it")
    folder = pickles[0][: -len("data.pkl")]
    if f"{folder}byteorder" in entries and _entry(path, entries[f"{folder}byteorder"]) == b"big":
        raise Malformed("it was saved on a machine of the other byte order")
    root = read_pickle(io.BytesIO(_entry(path, entries[pickles[0]], _LARGEST_PICKLE)))
    data = f"{folder}data/"
    readers = {
        name[len(data) :]: _reader(path, entry) for name, entry in entries.items() if name.startswith(data)
    }
    return Opened(root, Storages(readers))


def _reader(path: Path, entry: zipfile.ZipInfo) -> Callable[[], bytes]:
    return lambda: _entry(path, entry)


def _entry(path: Path, entry: zipfile.ZipInfo, largest: Optional[int] = None) -> bytes:
    # PyTorch compresses nothing; what is no larger than the file itself cannot be a bomb.
    if entry.file_size > path.stat().st_size or entry.compress_type != zipfile.ZIP_STORED:
        raise Malformed("a zip that was compressed again: unpack it, and zip it without compression")
    if largest is not None and entry.file_size > largest:
        raise Malformed(f"a pickle of more than {largest >> 20} MiB")
    with _damage_is_malformed(), zipfile.ZipFile(path) as archive:
        return archive.read(entry)


@contextlib.contextmanager
def _damage_is_malformed() -> Iterator[None]:
    try:
        yield
    # All that `zipfile` stumbles over in foreign bytes, encryption included.
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, struct.error, OverflowError) as error:
        raise Malformed(str(error) or type(error).__name__) from error


def _pickle(file: BinaryIO, path: Path) -> Opened:
    stream = _Clamped(file, path.stat().st_size)
    root = read_pickle(stream)
    if root != _MAGIC:
        return Opened(root, Storages({}, nested))
    if read_pickle(stream) != _VERSION:
        raise Malformed("a version of PyTorch's format that nobody has written")
    system = read_pickle(stream)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise Malformed("it was saved on a machine of the other byte order")
    root = read_pickle(stream)
    keys = read_pickle(stream)
    where = _offsets(stream, keys, _item_sizes(root))

    def reader(key: str) -> Callable[[], bytes]:
        def read() -> bytes:
            start, length = where[key]
            with path.open("rb") as again:
                again.seek(start)
                return again.read(length)

        return read

    return Opened(root, Storages({key: reader(key) for key in where}))


def nested(content: bytes) -> Tuple[Any, Dict[str, bytes]]:
    """A storage as Python's own pickle keeps it: a file of PyTorch's older format, within the pickle.

    Returns:
        What it holds, and the bytes of each of its storages.

    Raises:
        Malformed: it is none.
    """
    stream = _Clamped(io.BytesIO(content), len(content))
    if read_pickle(stream) != _MAGIC or read_pickle(stream) != _VERSION:
        raise Malformed("a tensor that is kept in an unknown way")
    read_pickle(stream)
    root = read_pickle(stream)
    where = _offsets(stream, read_pickle(stream), _item_sizes(root))
    return root, {key: content[start : start + length] for key, (start, length) in where.items()}


def _item_sizes(root: Any) -> Dict[str, int]:
    """Bytes of a number in each storage: only what refers to one says its type."""
    sizes: Dict[str, int] = {}
    seen, pending = set(), [root]
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Persistent):
            identity = value.identity
            if isinstance(identity, tuple) and len(identity) >= 5 and isinstance(identity[1], Global):
                dtype = storage_type(identity[1].name)
                if dtype is not None and isinstance(identity[2], str):
                    sizes[identity[2]] = ITEM_SIZES[dtype]
        elif isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, (list, tuple)):
            pending.extend(value)
        elif isinstance(value, Thing):
            pending += [value.arguments, value.state, value.items, value.elements]
    return sizes


def _offsets(stream: Stream, keys: Any, sizes: Dict[str, int]) -> Dict[str, Tuple[int, int]]:
    """The place of each storage's numbers: start and length in bytes."""
    if not isinstance(keys, list):
        raise Malformed("no list of storages")
    where = {}
    for key in keys:
        count = int.from_bytes(stream.read(8), "little")
        if not isinstance(key, str) or key not in sizes:
            raise Malformed("numbers of an unknown type")
        where[key] = (stream.tell(), count * sizes[key])
        _skip(stream, count * sizes[key])
    return where


def _skip(stream: Stream, count: int) -> None:
    while count:
        step = min(count, 1 << 24)
        if len(stream.read(step)) != step:
            raise Malformed("it ends too early")
        count -= step


class _Clamped:
    """A file that is asked for no more than there is: Python sets memory aside for what is asked."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        left = max(self._size - self._file.tell(), 0)
        return self._file.read(left if size < 0 else min(size, left))

    def readline(self) -> bytes:
        """As of a file."""
        return self._file.readline()

    def tell(self) -> int:
        """As of a file."""
        return self._file.tell()
