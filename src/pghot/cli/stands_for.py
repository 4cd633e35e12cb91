"""The option `--stands-for`: how large the real program is."""

from __future__ import annotations

from pghot.errors import UsageError
from pghot.units import parse_size


def size_or_times(text: str) -> tuple[float | None, float | None]:
    """What the option says: bytes, or a multiple of the recorded footprint; neither if it is left out."""
    if not text:
        return None, None
    if text.endswith("x"):
        try:
            return None, float(text[:-1])
        except ValueError:
            raise UsageError(
                f"'{text}' is no multiple (--stands-for)", "give one such as 16x, or a size"
            ) from None
    return float(parse_size(text)), None
