"""Tensors in what a pickle holds: their shapes at once, their numbers once they are needed."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import torch

from worker.models.checkpoint.things import (
    LARGEST_WALK,
    Global,
    Malformed,
    Persistent,
    Thing,
    attributes,
    items,
    walk,
)

#: Numbers that the views of one tensor may repeat, at most: 1 GiB of float32.
_LARGEST_VIEW = 1 << 28

_TYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "UntypedStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
#: Bytes of a number of each type.
ITEM_SIZES: Dict[torch.dtype, int] = {
    dtype: torch.empty(0, dtype=dtype).element_size() for dtype in _TYPES.values()
}
_DTYPES = {f"torch.{str(dtype).split('.')[1]}": dtype for dtype in _TYPES.values()}
_DTYPES.update({"torch.float": torch.float32, "torch.half": torch.float16, "torch.double": torch.float64})
_REBUILT = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_AROUND = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
_OF_A_TYPE = ("torch._tensor._rebuild_from_type_v2", "torch._tensor._rebuild_from_type")


class Lazy(NamedTuple):
    """A tensor that is not read yet."""

    shape: Tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], torch.Tensor]


def storage_type(name: str) -> Optional[torch.dtype]:
    """The type of the numbers in a storage: `torch.cuda.HalfStorage` is float16; None for an unknown one."""
    return _TYPES.get(name.rpartition(".")[2])


class Storages:
    """The numbers of a checkpoint's tensors, by key.

    Args:
        readers: what reads each.
        nested: what reads one that lies within the pickle; see `files.nested`.
    """

    def __init__(
        self,
        readers: Dict[str, Callable[[], bytes]],
        nested: Optional[Callable[[bytes], Tuple[Any, Dict[str, bytes]]]] = None,
    ) -> None:
        self._readers = readers
        self._nested = nested
        self._last: Tuple[Any, bytes] = (None, b"")

    def locate(self, storage: Any) -> Optional[Tuple[torch.dtype, Callable[[], bytes], int]]:
        """The type of a storage's numbers, what reads them, and how many a view of it begins later."""
        if isinstance(storage, Thing) and storage.name == "torch.storage._load_from_bytes" and self._nested:
            inner, found = self._nested(_bytes(storage.arguments))
            return Storages({key: partial(bytes, value) for key, value in found.items()}).locate(inner)
        identity = storage.identity if isinstance(storage, Persistent) else None
        if not isinstance(identity, tuple) or len(identity) < 5 or not isinstance(identity[1], Global):
            return None
        dtype, key = storage_type(identity[1].name), identity[2]
        view = identity[5] if len(identity) > 5 else None
        start = view[1] if isinstance(view, tuple) and len(view) == 3 and isinstance(view[1], int) else 0
        return None if dtype is None or not isinstance(key, str) else (dtype, lambda: self._read(key), start)

    def _read(self, key: str) -> bytes:
        if self._last[0] != key:  # several tensors may be views of one storage
            if key not in self._readers:
                raise Malformed(f"the numbers of a tensor are not there: {key[:40]!r}")
            self._last = (key, self._readers[key]())
        return self._last[1]


def _bytes(arguments: Any) -> bytes:
    """The single argument of a call; before protocol 3, bytes are text that is to be encoded."""
    value = arguments[0] if isinstance(arguments, tuple) and len(arguments) == 1 else None
    if isinstance(value, Thing) and value.name == "_codecs.encode" and isinstance(value.arguments, tuple):
        text = value.arguments[0] if value.arguments else None
        try:
            value = text.encode("latin-1") if isinstance(text, str) else None
        except UnicodeEncodeError:
            value = None
    if not isinstance(value, bytes):
        raise Malformed("a tensor that is kept in an unknown way")
    return value


def tensor_of(value: Any, storages: Storages) -> Optional[Lazy]:
    """The tensor that a value is, or None for anything else.

    Raises:
        Malformed: it claims to be one, and cannot be.
    """
    for _ in range(8):  # a parameter of a subclass: one within the other
        if isinstance(value, Lazy):
            return value
        if not isinstance(value, Thing) or not isinstance(value.arguments, tuple):
            return None
        arguments = value.arguments
        if value.name in _AROUND and arguments:
            value = arguments[0]
        elif value.name in _OF_A_TYPE and len(arguments) >= 3:
            value = Thing(arguments[0], arguments[2])
        else:
            break
    if not isinstance(value, Thing):
        return None
    if value.name == "torch._utils._rebuild_qtensor" and len(arguments) > 2:
        return Lazy(_whole(arguments[2]), torch.qint8, _unreadable)
    dtype = None
    if value.name == "torch._utils._rebuild_tensor_v3" and len(arguments) > 6:
        dtype = _DTYPES.get(arguments[6].name) if isinstance(arguments[6], Global) else None
        if dtype is None:
            return None
    elif value.name not in _REBUILT or len(arguments) < 4:
        return None
    located = storages.locate(arguments[0])
    if located is None:
        return None
    stored, read, start = located
    offset, shape, stride = _whole((arguments[1],))[0] + start, _whole(arguments[2]), _whole(arguments[3])
    if len(shape) != len(stride):
        raise Malformed("a tensor whose shape and strides differ")
    dtype = dtype or stored
    return Lazy(shape, dtype, lambda: _view(read(), dtype, offset, shape, stride))


def _whole(values: Any) -> Tuple[int, ...]:
    if isinstance(values, Thing) and values.name == "torch.Size" and isinstance(values.arguments, tuple):
        (values,) = values.arguments or ((),)
    if not isinstance(values, (tuple, list)) or not all(
        isinstance(value, int) and 0 <= value < 1 << 62 for value in values
    ):
        raise Malformed("a tensor of an impossible shape")
    return tuple(values)


def _unreadable() -> torch.Tensor:
    raise Malformed("a quantised tensor")


def _view(
    content: bytes, dtype: torch.dtype, offset: int, shape: Tuple[int, ...], stride: Tuple[int, ...]
) -> torch.Tensor:
    numbers = 1
    for length in shape:
        numbers *= length
    if not numbers:
        return torch.empty(shape, dtype=dtype)
    there = len(content) // ITEM_SIZES[dtype]
    last = offset + sum((length - 1) * step for length, step in zip(shape, stride))
    if last >= there or numbers > max(there, _LARGEST_VIEW):
        raise Malformed("a tensor that is larger than its numbers")
    flat = torch.frombuffer(bytearray(content[: there * ITEM_SIZES[dtype]]), dtype=dtype)
    return flat.as_strided(shape, stride, offset)


class StateDict(NamedTuple):
    """Names and tensors, as a module's `state_dict()` has them."""

    path: Tuple[str, ...]
    tensors: Dict[str, Lazy]
    #: The versions of the modules' formats, where they were saved.
    versions: Any


def state_dicts(root: Any, storages: Storages) -> Iterator[StateDict]:
    """Every state dict in a checkpoint, and the one of every whole module.

    Raises:
        Malformed: a tensor cannot be what it claims.
    """
    for path, value in walk(root):
        if isinstance(value, Thing) and isinstance(attributes(value).get("_modules"), (Thing, dict)):
            found = _of_module(value, storages)
        else:
            named = items(value)
            found = {
                str(name): tensor
                for name, tensor in ((name, tensor_of(held, storages)) for name, held in named.items())
                if tensor is not None and isinstance(name, str)
            }
        if found:
            versions = attributes(value).get("_metadata") if isinstance(value, Thing) else None
            yield StateDict(path, found, versions)


def _of_module(module: Thing, storages: Storages) -> Dict[str, Lazy]:
    found: Dict[str, Lazy] = {}
    pending: List[Tuple[str, Any, int]] = [("", module, 0)]
    while pending:
        prefix, part, depth = pending.pop()
        if not isinstance(part, Thing) or depth > 32 or len(found) > LARGEST_WALK:
            continue
        held = attributes(part)
        for kind in ("_parameters", "_buffers"):
            for name, value in items(held.get(kind)).items():
                tensor = tensor_of(value, storages)
                if tensor is not None:
                    found[f"{prefix}{name}"] = tensor
        for name, child in items(held.get("_modules")).items():
            pending.append((f"{prefix}{name}.", child, depth + 1))
    return found
