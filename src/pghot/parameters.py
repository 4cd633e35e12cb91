"""Checks for numbers that policies and sources take as options."""

from __future__ import annotations

import math

from pghot.errors import UsageError

MOST = 1e15  # far beyond any use, and still exact as a float and as an int64
MOST_NS = 1e9  # no single sample, page or entry costs a second


def check_number(owner: str, option: str, value: float, least: float, most: float = MOST) -> None:
    """Raise `UsageError` unless `least` <= value <= `most`. A NaN is always refused.

    >>> check_number("pebs", "period_misses", 0, 1)
    Traceback (most recent call last):
    pghot.errors.UsageError: pebs.period_misses is 0, which is less than it can be
    """
    if least <= value <= most:
        return
    if isinstance(value, float) and not math.isfinite(value):
        wrong = "which is not a finite number"
    else:
        wrong = f"which is {'less' if value < least else 'more'} than it can be"
    allowed = f"{least:g} or more" if most == MOST and value < least else f"{least:g} to {most:g}"
    raise UsageError(f"{owner}.{option} is {shown(value)}, {wrong}", f"give {allowed}")


def shown(value: float) -> str:
    """A number for a message, cut short when it has too many digits to read.

    >>> shown(10**400), shown(0.5)
    ('1000000000000000...', '0.5')
    """
    text = str(value)
    return text if len(text) <= 24 else f"{text[:16]}..."
