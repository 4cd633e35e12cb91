"""The option `--stands-for`: how large the real program is."""

from __future__ import annotations

from pghot.units import parse_size_or_times


def size_or_times(text: str) -> tuple[float | None, float | None]:
    """What the option says: bytes, or a multiple of the recorded footprint; neither if it is left out."""
    return parse_size_or_times(text) if text else (None, None)
