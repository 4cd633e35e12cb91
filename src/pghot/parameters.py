"""The parameters of a source: those that its class takes by name, and the check of a number among them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from pghot.errors import UsageError

MOST = 1e15  # far beyond any use, and still exact as a float and as an int64
MOST_NS = 1e9  # what a second would cost is no cost of one sample, page or entry


def options_of(made_by: Callable[..., Any]) -> dict[str, Any]:
    """The parameters after the first, by name, with their defaults.

    >>> options_of(lambda settings, *, period_ms=2000.0, **others: None)
    {'period_ms': 2000.0}
    """
    parameters = list(inspect.signature(made_by).parameters.values())[1:]
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {each.name: each.default for each in parameters if each.kind not in several}


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
