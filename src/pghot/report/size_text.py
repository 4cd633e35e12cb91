"""How much fast memory each run needs, as text: the least first."""

from __future__ import annotations

import math
import textwrap

from pghot.lab.size import Size, Sizes
from pghot.lab.verdict import TITLES
from pghot.printable import printable
from pghot.report.comparison_text import setup_lines
from pghot.units import format_share, format_size


def render(found: Sizes) -> str:
    """The text that `pghot size` prints."""
    setup = found.setup
    head = [line for line in setup_lines(setup) if not line.startswith("tiers: ")]
    wanted = f"{100 * (found.slowdown - 1):.3g} %"
    asked = f"fast memory with which it takes at most {wanted} longer than with fast memory alone:"
    lines = _wrapped([*head, f"tiers: {setup.tiers}", asked])
    titles = {**TITLES, "nowhere": "What no machine can do: it knows the future"}
    wide = max(len(each.label) for each in found.sizes)
    for runs_on, title in titles.items():
        group = [each for each in found.sizes if each.runs_on == runs_on]
        if group:
            lines += [
                f"{title}:",
                *(f"  {each.label:{wide}}  {_told(each)}" for each in sorted(group, key=_order)),
            ]
    return "\n".join(lines)


def _order(each: Size) -> tuple[bool, float]:
    return each.fast_share is None, each.fast_share or each.at_largest or math.inf


def _told(each: Size) -> str:
    if each.at_largest is None:
        return "no size that was tried: with the largest it does not do all its work"
    if each.fast_share is None or each.fast_bytes is None:
        return f"no size that was tried: with the largest it takes {100 * (each.at_largest - 1):.1f} % longer"
    spread = f" ± {format_share(round(each.ci95, 4))}" if each.ci95 is not None else ""
    return f"{format_size(each.fast_bytes):>10}  {format_share(round(each.fast_share, 3))}{spread} of the footprint"


def _wrapped(lines: list[str]) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(printable(line), 100, subsequent_indent="  ", break_on_hyphens=False)
    ]
