"""Pickles read as plain data: nothing that one names is imported, looked up or called.

A pickle is a program for a small stack machine, and what makes one dangerous are the instructions that import
and call. This machine knows them all, but where they would call, it only notes what was to be called with
what: a `Thing`. Tensors are Things as well, which `tensors` knows how to read.
"""

from __future__ import annotations

import pickletools
from typing import IO, Any, Callable, Dict, List, Protocol, Tuple, cast

from worker.models.checkpoint.things import Global, Malformed, Persistent, Thing

#: Instructions in one pickle, at most: a checkpoint has some 30 for each tensor. Each makes one object at
#: most, so that this bounds memory and time as well.
LIMIT = 4_000_000


class Stream(Protocol):
    """A source of bytes: a file, or bytes as one."""

    def read(self, size: int = ...) -> bytes:
        """As of a file."""

    def readline(self) -> bytes:
        """As of a file."""

    def tell(self) -> int:
        """As of a file."""


def read_pickle(stream: Stream) -> Any:
    """Read what a pickle holds: Python's plain values, and Globals, Persistents and Things for all else.

    Args:
        stream: read up to the end of the pickle, and no further.

    Raises:
        Malformed: see there.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], stream))):
            if count > LIMIT:
                raise Malformed(f"a pickle of more than {LIMIT} instructions")
            machine.step(opcode.name, argument)
        return machine.stack[-1]
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"a pickle that cannot be read: {type(error).__name__}: {error}") from error
    except (MemoryError, OverflowError, RecursionError) as error:
        raise Malformed(f"a pickle that asks for too much: {type(error).__name__}") from error


def _key(value: Any) -> Any:
    """A key for a dict. Hashing a tuple goes as deep as it is nested, which can be too deep for the stack."""
    if value is None or isinstance(value, (str, bytes, float)):
        return value
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return value
    return object()  # equal to nothing else: no such key is looked for


class _Machine:
    def __init__(self) -> None:
        self.stack: List[Any] = []
        self._below: List[List[Any]] = []  # the stacks below each mark
        self._memo: Dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry one instruction out."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _MEMO_READS:
            self.stack.append(self._memo[int(argument)])
        elif name in _MEMO_WRITES:
            self._memo[int(argument)] = self.stack[-1]
        else:
            getattr(self, f"_{name.lower()}")(argument)

    def _since_mark(self) -> List[Any]:
        values = self.stack
        self.stack = self._below.pop()
        return values

    def _nothing(self, argument: Any) -> None:
        """PROTO, FRAME and STOP say nothing about the values."""

    _proto = _frame = _stop = _readonly_buffer = _nothing

    def _memoize(self, argument: Any) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def _mark(self, argument: Any) -> None:
        self._below.append(self.stack)
        self.stack = []

    def _pop(self, argument: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._since_mark()

    def _pop_mark(self, argument: Any) -> None:
        self._since_mark()

    def _dup(self, argument: Any) -> None:
        self.stack.append(self.stack[-1])

    def _list(self, argument: Any) -> None:
        values = self._since_mark()
        self.stack.append(values)

    def _tuple(self, argument: Any) -> None:
        values = self._since_mark()
        self.stack.append(tuple(values))

    def _dict(self, argument: Any) -> None:
        values = self._since_mark()
        self.stack.append({})
        self._set(values)

    def _frozenset(self, argument: Any) -> None:
        values = self._since_mark()
        self.stack.append({_key(value) for value in values})

    def _last(self, count: int) -> Tuple[Any, ...]:
        if len(self.stack) < count:
            raise Malformed("a pickle that takes more than it has")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def _tuple1(self, argument: Any) -> None:
        self.stack.append(self._last(1))

    def _tuple2(self, argument: Any) -> None:
        self.stack.append(self._last(2))

    def _tuple3(self, argument: Any) -> None:
        self.stack.append(self._last(3))

    def _append(self, argument: Any) -> None:
        self._extend(list(self._last(1)))

    def _appends(self, argument: Any) -> None:
        self._extend(self._since_mark())

    def _extend(self, values: List[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Thing):
            target.elements = [] if target.elements is None else target.elements
            target.elements.extend(values)
        elif isinstance(target, list):
            target.extend(values)
        else:
            raise Malformed(f"a pickle that appends to a {type(target).__name__}")

    def _additems(self, argument: Any) -> None:
        values = self._since_mark()
        target = self.stack[-1]
        if isinstance(target, set):
            target.update(_key(value) for value in values)
        elif not isinstance(target, Thing):
            raise Malformed(f"a pickle that adds to a {type(target).__name__}")

    def _setitem(self, argument: Any) -> None:
        self._set(list(self._last(2)))

    def _setitems(self, argument: Any) -> None:
        self._set(self._since_mark())

    def _set(self, values: List[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Thing):
            target.items = {} if target.items is None else target.items
            target = target.items
        if not isinstance(target, dict) or len(values) % 2:
            raise Malformed(f"a pickle that sets items of a {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2]):
            target[_key(key)] = value

    def _global(self, argument: Any) -> None:
        self.stack.append(Global(argument.replace(" ", ".", 1)))

    def _stack_global(self, argument: Any) -> None:
        module, name = self._last(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise Malformed("a pickle that imports by something else than a name")
        self.stack.append(Global(f"{module}.{name}"))

    def _extension(self, argument: Any) -> None:
        self.stack.append(Global(f"copyreg.extension.{argument}"))

    _ext1 = _ext2 = _ext4 = _extension

    def _call(self, argument: Any) -> None:
        self.stack.append(Thing(*self._last(2)))

    _reduce = _newobj = _call

    def _newobj_ex(self, argument: Any) -> None:
        maker, positional, _ = self._last(3)
        self.stack.append(Thing(maker, positional))

    def _inst(self, argument: Any) -> None:
        values = self._since_mark()
        self.stack.append(Thing(Global(argument.replace(" ", ".", 1)), tuple(values)))

    def _obj(self, argument: Any) -> None:
        maker, *values = self._since_mark()
        self.stack.append(Thing(maker, tuple(values)))

    def _build(self, argument: Any) -> None:
        target, state = self._last(2)
        if not isinstance(target, Thing):
            raise Malformed(f"a pickle that gives a state to a {type(target).__name__}")
        target.state = state
        self.stack.append(target)

    def _persid(self, argument: Any) -> None:
        self.stack.append(Persistent(argument))

    def _binpersid(self, argument: Any) -> None:
        self.stack.append(Persistent(self.stack.pop()))


#: The instruction's argument is the value.
_VALUES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    )
)
_CONSTANTS: Dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
    "NEXT_BUFFER": lambda: Persistent(None),
}
_MEMO_READS = frozenset(("GET", "BINGET", "LONG_BINGET"))
_MEMO_WRITES = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
