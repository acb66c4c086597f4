"""Real pictures, damaged by chance: the same damage for the same seed.

a picture ── taken apart ──> pieces ── one to three mutations ──> joined ── mended now and then ──> payload

Damage that knows of pieces (a chunk twice, a length that lies) gets further into a decoder than flipped bits
alone; and only with a mended CRC does damage to a PNG get past its first check.
"""

from __future__ import annotations

import random
import struct
import zlib
from typing import Callable, List, Sequence

from tests.faults.hostile.containers import PNG, pieces

Pieces = List[bytes]
Mutation = Callable[[random.Random, Pieces, Pieces], Pieces]

_INTERESTING = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)


def mutate(dice: random.Random, pictures: Sequence[bytes]) -> bytes:
    """One of the pictures, damaged; never empty.

    Args:
        dice: decides everything.
        pictures: well-formed JPEGs, PNGs and WebPs.
    """
    parts, donor = pieces(dice.choice(pictures)), pieces(dice.choice(pictures))
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        if sum(map(len, parts)) < 2:
            break  # nothing is left to damage
        parts = dice.choice(_MUTATIONS)(dice, parts, donor) or parts
    payload = b"".join(parts)
    if dice.random() < 0.7:
        payload = _mend(payload)
    return payload or b"\0"


def _flip_bits(dice: random.Random, parts: Pieces, donor: Pieces) -> Pieces:
    data = bytearray(b"".join(parts))
    for _ in range(dice.randrange(1, 16)):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return [bytes(data)]


def _set_bytes(dice: random.Random, parts: Pieces, donor: Pieces) -> Pieces:
    """In one piece, so that the short ones, headers and tables, have their turn as often as the pixels."""
    at = _any(dice, parts)
    data = bytearray(parts[at])
    for _ in range(dice.randrange(1, 8)):
        data[dice.randrange(len(data))] = dice.choice((*_INTERESTING, dice.randrange(256)))
    return [*parts[:at], bytes(data), *parts[at + 1 :]]


def _cut_off(dice: random.Random, parts: Pieces, donor: Pieces) -> Pieces:
    data = b"".join(parts)
    return [data[: dice.randrange(1, len(data))]]


def _cut_out(dice: random.Random, parts: Pieces, donor: Pieces) -> Pieces:
    data = b"".join(parts)
    start = dice.randrange(len(data))
    return [data[:start], data[start + dice.randrange(1, 64) :]]


def _drop_piece(dice: random.Random, parts: Pieces, donor: Pieces) -> Pieces:
    at = _any(dice, parts)
    return [*parts[:at], *parts[at + 1 :]]


def _repeat_piece(dice: random.Random, parts: Pieces, donor: Pieces) -> Pieces:
    at = _any(dice, parts)
    times = min(dice.choice((1, 2, 50)), 1 + 20_000 // len(parts[at]))
    return [*parts[:at], *[parts[at]] * times, *parts[at:]]


def _swap_pieces(dice: random.Random, parts: Pieces, donor: Pieces) -> Pieces:
    one, other = _any(dice, parts), _any(dice, parts)
    parts = list(parts)
    parts[one], parts[other] = parts[other], parts[one]
    return parts


def _borrow_piece(dice: random.Random, parts: Pieces, donor: Pieces) -> Pieces:
    at = _any(dice, parts)
    return [*parts[:at], dice.choice(donor), *parts[at + dice.randrange(2) :]]


def _splice(dice: random.Random, parts: Pieces, donor: Pieces) -> Pieces:
    data, other = b"".join(parts), b"".join(donor)
    return [data[: dice.randrange(1, len(data))], other[dice.randrange(len(other)) :]]


def _lie_about_length(dice: random.Random, parts: Pieces, donor: Pieces) -> Pieces:
    """PNG has the length in front of the name, WebP behind it, JPEG has two bytes behind the marker."""
    at = _any(dice, parts)
    start = 0 if parts[0].startswith(PNG) else 4 if parts[0].startswith(b"RIFF") else 2
    size = 2 if start == 2 else 4
    lie = dice.choice((0, 1, 2, 0xFFFF, 2 ** (8 * size - 1) - 1, 2 ** (8 * size) - 1, len(parts[at]) + 1))
    written = (lie & (2 ** (8 * size) - 1)).to_bytes(size, "little" if start == 4 else "big")
    return [*parts[:at], parts[at][:start] + written + parts[at][start + size :], *parts[at + 1 :]]


def _insert_noise(dice: random.Random, parts: Pieces, donor: Pieces) -> Pieces:
    data = b"".join(parts)
    at = dice.randrange(len(data))
    noise = dice.getrandbits(8 * 4096).to_bytes(4096, "big")[: dice.choice((1, 2, 4, 64, 4096))]
    return [data[:at], noise, data[at:]]


_MUTATIONS: Sequence[Mutation] = (
    _flip_bits,
    _set_bytes,
    _set_bytes,
    _cut_off,
    _cut_out,
    _drop_piece,
    _repeat_piece,
    _swap_pieces,
    _borrow_piece,
    _splice,
    _lie_about_length,
    _insert_noise,
)


def _any(dice: random.Random, parts: Pieces) -> int:
    """The number of a piece that is not empty, the first piece (which names the format) less often."""
    numbers = [number for number, part in enumerate(parts) if part]
    return dice.choice(numbers[1:] * 3 + numbers[:1])


def _mend(payload: bytes) -> bytes:
    """Make the CRCs of a PNG, or the length of a WebP, fit again as far as its chunks can be followed."""
    if payload.startswith(b"RIFF"):
        return payload[:4] + struct.pack("<I", max(0, len(payload) - 8)) + payload[8:]
    if not payload.startswith(PNG):
        return payload
    mended, at = bytearray(payload), len(PNG)
    while at + 12 <= len(mended):
        (length,) = struct.unpack_from(">I", mended, at)
        end = at + 8 + length
        if end + 4 > len(mended):
            break
        struct.pack_into(">I", mended, end, zlib.crc32(mended[at + 4 : end]))
        at = end + 4
    return bytes(mended)
