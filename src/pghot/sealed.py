"""One line of JSON with the CRC-32 of its text, for facts of recordings and journals that must not be misread."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any


def seal(facts: Mapping[str, Any]) -> str:
    """JSON with the CRC-32 of its text in front.

    >>> seal({"rows": 23})
    '6eb93bde {"rows":23}'
    """
    text = json.dumps(facts, separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x} {text}"


def unseal(sealed: str) -> dict[str, Any]:
    """The facts that `seal` was given. Raises `ValueError` when the text is not what was sealed."""
    crc, _, text = sealed.partition(" ")
    if crc != f"{zlib.crc32(text.encode(errors='surrogatepass')):08x}":
        raise ValueError("checksum does not match")
    return json_object(text)


def json_object(text: str) -> dict[str, Any]:
    """The facts of a JSON object. Raises `ValueError` for anything else, numbers that JSON does not have among it."""
    try:
        facts = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(facts, dict):
        raise ValueError("not a JSON object")
    return facts


def _finite(text: str) -> float:
    """A number. Python reads NaN and 1e400 too, and writes what no other program reads."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no number of JSON")
    return value
