"""Ways to damage what a stranger hands over: bytes, numbers, JSON. Each is drawn from a `random.Random`."""

from __future__ import annotations

import copy
import random
from typing import Any

_WORDS = (0, 1, 7, 8, 64, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF)
_POWERS = (7, 8, 15, 16, 24, 28, 31, 32, 40, 47, 48, 53, 60, 62, 63, 64, 128, 1023)
_TEXTS = (
    "",
    "x",
    "0",
    "-1",
    "\x1b[2J",
    "a\nb",
    "\x00",
    "\ud800",
    "\u202e",
    "<script>",
    "é" * 300,
    "true",
    "1e400",
)


def odd_number(rng: random.Random) -> int | float:
    """A number at which programs break: a border of a type, a tiny or a huge one, no number at all."""
    match rng.randrange(5):
        case 0:
            return rng.choice((0, 1, -1, 2, 3, 4095, 4096, 4097))
        case 1 | 2:
            return rng.choice((1, 1, -1)) * ((1 << rng.choice(_POWERS)) + rng.choice((-1, 0, 0, 1)))
        case 3:
            return rng.choice((0.5, -0.5, 1e-320, 1e-30, 1e30, 1e308, 1.5, 1e16, -1e308))
    return rng.choice((float("nan"), float("inf"), float("-inf"), 10 ** rng.choice((20, 100, 400))))


def odd_value(rng: random.Random) -> Any:
    """Any JSON value that does not belong where it is put."""
    kinds = (None, True, False, [], {}, [[]], [None], {"a": 1}, [0, 0], ["a", "b"])
    return rng.choice(
        (odd_number(rng), odd_number(rng), rng.choice(_TEXTS), copy.deepcopy(rng.choice(kinds)))
    )


def damaged_json(rng: random.Random, value: Any) -> Any:
    """A copy of a JSON value in which one to three places are other values, missing, doubled or nudged by one."""
    changed = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        changed = _changed(rng, changed)
    return changed


def _changed(rng: random.Random, value: Any) -> Any:
    holders = [each for each in _holders(value) if each]
    if not holders:
        return odd_value(rng)
    holder = rng.choice(holders)
    key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    _change_one(rng, holder, key)
    return value


def _holders(value: Any) -> list[Any]:
    """Each object and list inside a value, itself included."""
    if not isinstance(value, (dict, list)):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(holder for each in inner for holder in _holders(each))]


def _change_one(rng: random.Random, holder: Any, key: Any) -> None:
    old = holder[key]
    match rng.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(old, int) and not isinstance(old, bool):
            holder[key] = old + rng.choice((-1, 1))
        case 2 if isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(old))
        case 3 if isinstance(holder, list):
            rng.shuffle(holder)
        case 4 if isinstance(holder, dict):
            holder[rng.choice(("", "unknown", key + " "))] = copy.deepcopy(old)
        case _:
            holder[key] = odd_value(rng)


def damaged_bytes(rng: random.Random, content: bytes, most: int = 4) -> bytes:
    """The bytes with one to `most` changes: bits flipped, words that look like lengths, pieces cut, doubled, moved."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, most)):
        if not changed:
            return rng.randbytes(rng.randrange(64))
        _damage(rng, changed)
    return bytes(changed)


def _damage(rng: random.Random, content: bytearray) -> None:
    at = rng.randrange(len(content))
    piece = content[at : at + rng.choice((1, 4, 8, 64, 512, 4096))]
    match rng.randrange(8):
        case 0 | 1 | 2:
            content[at] ^= 1 << rng.randrange(8)
        case 3:
            at &= ~3
            content[at : at + 4] = rng.choice(_WORDS).to_bytes(4, "little")
        case 4:
            content[at : at + len(piece)] = b""
        case 5:
            content[at:at] = piece
        case 6:
            to = rng.randrange(len(content))
            content[to : to + len(piece)] = piece
        case _:
            del content[at:]
