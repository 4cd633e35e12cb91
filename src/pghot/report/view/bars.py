"""Bars and charts of characters: pure functions. Each part of a bar has a character of its own, so that colour is
never needed to read it."""

from __future__ import annotations

from collections.abc import Sequence

EIGHTHS = " ▁▂▃▄▅▆▇█"
UNKNOWN = " "


def cells(amounts: Sequence[float], width: int) -> list[int]:
    """How many of `width` cells each amount gets: in proportion, but at least one for any amount above 0.

    >>> cells([0.001, 50, 50], 10)
    [1, 5, 4]
    >>> cells([0, 0], 10)
    [0, 0]
    """
    total = sum(amounts)
    if total <= 0 or width <= 0:
        return [0] * len(amounts)
    exact = [width * amount / total for amount in amounts]
    given = [max(int(share), int(amount > 0)) for share, amount in zip(exact, amounts, strict=True)]
    while sum(given) < width:
        given[max(range(len(given)), key=lambda i: exact[i] - given[i])] += 1
    while sum(given) > width:
        # Take from the widest, so that small parts stay visible as long as there is room.
        given[max(range(len(given)), key=lambda i: given[i])] -= 1
    return given


def gauge(share: float, width: int) -> str:
    """A share of a limit; more than the limit is full.

    >>> gauge(0.5, 4)
    '██░░'
    """
    full = round(min(max(share, 0.0), 1.0) * width)
    return "█" * full + "░" * (width - full)


def chart(values: Sequence[float | None], rows: int, top: float) -> list[str]:
    """`rows` lines, the top line first, with a column for each value. `top` fills a column, None leaves it empty.

    A known value shows at least an eighth of a line, so that 0 does not look like an unknown value.

    >>> chart([0, 1, 2, None], 1, 2)
    ['▁▄█ ']
    """
    levels = [None if value is None else _level(value, rows, top) for value in values]
    return [
        "".join(UNKNOWN if level is None else EIGHTHS[min(8, max(0, level - 8 * row))] for level in levels)
        for row in reversed(range(rows))
    ]


def _level(value: float, rows: int, top: float) -> int:
    return max(1, round(8 * rows * min(1.0, value / top))) if top > 0 else 1
