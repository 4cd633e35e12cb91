"""The check of a number that a policy or source takes as an option."""

from __future__ import annotations

import math

from pghot.errors import UsageError

MOST = 1e15  # far beyond any use, and still exact as a float and as an int64
MOST_NS = 1e9  # what a second would cost is no cost of one sample, page or entry


def check_number(owner: str, option: str, value: float, least: float, most: float = MOST) -> None:
    """Raise `UsageError` unless `least` <= value <= `most`; a value that is not a number is neither.

    >>> check_number("pebs", "period_misses", 0, 1)
    Traceback (most recent call last):
    pghot.errors.UsageError: pebs.period_misses is 0, which is less than it can be
    """
    if least <= value <= most:
        return
    if isinstance(value, float) and not math.isfinite(value):
        wrong = "which is no finite number"
    else:
        wrong = f"which is {'less' if value < least else 'more'} than it can be"
    allowed = f"{least:g} or more" if most == MOST and value < least else f"{least:g} to {most:g}"
    raise UsageError(f"{owner}.{option} is {shown(value)}, {wrong}", f"give {allowed}")


def shown(value: float) -> str:
    """A number for a message, cut when it has more digits than anybody reads.

    >>> shown(10**400), shown(0.5)
    ('1000000000000000...', '0.5')
    """
    text = str(value)
    return text if len(text) <= 24 else f"{text[:16]}..."
