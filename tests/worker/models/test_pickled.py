"""Pickles as plain data: nothing in one runs, however it is written, and none brings the reader down."""

from __future__ import annotations

import argparse
import collections
import functools
import io
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import pytest

from worker.models.checkpoint import pickled
from worker.models.checkpoint.pickled import read_pickle
from worker.models.checkpoint.things import Malformed, Thing, items, walk


def read(content: bytes) -> Any:
    return read_pickle(io.BytesIO(content))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_what_they_were(protocol: int) -> None:
    value = {
        "text": "naïve \n",
        "numbers": [1, -1, 300, 1 << 40, -(1 << 80), 1.5, float("inf")],
        "flags": (True, False, None),
        "bytes": b"\x00\xff" if protocol > 2 else "",
        "nested": {"a": {"b": [()]}, 3: ("x",) * 4},
    }
    assert read(pickle.dumps(value, protocol)) == value


class Hostile:
    """Writes a file if anybody unpickles it."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call = call, arguments

    def __reduce__(self) -> Tuple[Any, ...]:
        return self.call


def programs(target: Path) -> Dict[str, bytes]:
    """Pickles that would write a file, by all the instructions that call."""
    command = f"touch {target}"
    text = b"X" + struct.pack("<I", len(command)) + command.encode()
    inner = Hostile(os.system, command)
    system = b"cposix\nsystem\n"
    return {
        "REDUCE": pickle.dumps(inner, 2),
        "REDUCE, protocol 0": pickle.dumps(inner, 0),
        "STACK_GLOBAL": pickle.dumps(inner, 4),
        "nested": pickle.dumps({"state_dict": [inner, {"x": inner}]}),
        "getattr": pickle.dumps(Hostile(getattr, inner, "x")),
        "exec": pickle.dumps(Hostile(exec, f"open({str(target)!r}, 'w')")),
        "partial": pickle.dumps(functools.partial(os.system, command)),
        "map": pickle.dumps(Hostile(map, os.system, [command])),
        "INST": b"(" + text + b"iposix\nsystem\n.",
        "OBJ": b"(" + system + text + b"o.",
        "NEWOBJ": b"\x80\x02" + system + text + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04" + system + text + b"\x85}\x92.",
        "BUILD": b"\x80\x02cbuiltins\ndict\n)R}X\x0c\x00\x00\x00__setstate__" + system + b"sb" + text + b"b.",
        "EXT1": b"\x80\x02\x82\x01" + text + b"\x85R.",
        "memo": b"\x80\x02" + system + b"q\x000h\x00" + text + b"\x85R.",
        "persistent_id": b"\x80\x02" + system + text + b"\x85RQ.",
        "torch.load": b"\x80\x02ctorch\nload\n" + text + b"\x85R.",
    }


NAMES = sorted(programs(Path()))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_called(name: str, tmp_path: Path) -> None:
    content = programs(tmp_path / "called")[name]
    root = read(content)
    list(walk(root))
    assert not (tmp_path / "called").exists()


def test_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nanofleet_hostile.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert read(b"\x80\x02cnanofleet_hostile\nClass\n)\x81.").name == "nanofleet_hostile.Class"
    assert "nanofleet_hostile" not in sys.modules


def test_objects_keep_what_they_were_given() -> None:
    namespace = argparse.Namespace(lr=0.1, classes=["cat", "dog"])
    assert items(read(pickle.dumps(namespace)))["classes"] == ["cat", "dog"]
    ordered = collections.OrderedDict(a=1, b=2)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert items(read(pickle.dumps(ordered, protocol))) == {"a": 1, "b": 2}
    default = collections.defaultdict(list, {"a": [1]})
    assert items(read(pickle.dumps(default))) == {"a": [1]}


def bomb(levels: int) -> bytes:
    """Lists of ten times the list before: 10 to the power of levels, once they are gone through."""
    return (
        b"\x80\x02]q\x00"
        + b"".join(
            b"(" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"lq" + bytes([level + 1])
            for level in range(levels)
        )
        + b"."
    )


def test_deep_nesting_and_repetition_end() -> None:
    deep = 200_000
    for content in (
        b"\x80\x02" + b"]" * deep + b"a" * (deep - 1) + b".",
        b"\x80\x02)" + b"\x85" * deep + b".",
        b"\x80\x02})" + b"\x85" * deep + b"Ns.",  # as a key, which has to be hashed
        b"\x80\x02cx\ny\n" + b")R" * deep + b".",
        b"\x80\x02" + b"(" * deep + b"l" * deep + b".",
        bomb(60),
    ):
        assert len(list(walk(read(content)))) < 100_000


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x02]",
        b"\x80\x02s.",
        b"\x80\x02\x87.",
        b"\x80\x02h\x05.",
        b"\x80\x02t.",
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02cx\ny\n}b.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx.",  # 9 exabytes of bytes
        b"\x80\x02X\xff\xff\xff\x7fx.",
        b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
        b"\x80\x02]r\xff\xff\xff\xff(.",
        b"\xff" * 100,
        b"I" + b"9" * 100_000 + b"\n.",
    ],
)
def test_damage_is_a_malformed_pickle(content: bytes) -> None:
    with pytest.raises(Malformed):
        read(content)


def test_too_many_instructions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "LIMIT", 1000)
    with pytest.raises(Malformed, match="more than 1000 instructions"):
        read(b"\x80\x02" + b"]0" * 1000 + b"N.")


def test_every_instruction_is_known() -> None:
    import pickletools

    machine = pickled._Machine()
    for opcode in pickletools.opcodes:
        known = opcode.name in pickled._VALUES or opcode.name in pickled._CONSTANTS
        known = known or opcode.name in pickled._MEMO_READS or opcode.name in pickled._MEMO_WRITES
        assert known or hasattr(machine, f"_{opcode.name.lower()}"), opcode.name
    assert isinstance(read(pickle.dumps(Path("x"))), Thing)
