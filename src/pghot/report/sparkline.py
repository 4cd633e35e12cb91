"""A small picture of a curve for a cell of a table, as SVG: drawn without a script, and in print."""

from __future__ import annotations

import numpy.typing as npt
from markupsafe import Markup

from pghot.report.terminal import fitted

WIDTH, HEIGHT = 120, 16


def sparkline(values: npt.ArrayLike, colour: str) -> Markup:
    """The area below the curve, from 0 to its own most.

    >>> sparkline([0, 2], "#000000").split("d='")[1]
    "M0 16V16H1V0H2V16Z'/></svg>"
    """
    shown = fitted(values, WIDTH)
    most = float(shown.max(initial=0)) or 1.0
    path = "".join(
        f"V{HEIGHT - HEIGHT * value / most:.4g}H{place + 1}" for place, value in enumerate(shown.tolist())
    )
    return Markup(
        "<svg class=spark viewBox='0 0 {} {}' preserveAspectRatio='none' style='color:{}' aria-hidden=true>"
        "<path d='M0 {}{}V{}Z'/></svg>"
    ).format(len(shown), HEIGHT, colour, HEIGHT, path, HEIGHT)
