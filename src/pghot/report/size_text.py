"""How much fast memory each run needs, as text: the least first, or the cheapest on several tiers."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from pghot.lab.size_tiers import TierSizes
from pghot.lab.sizes import ALL_FAST, Point, Size, Sizes, cheapest, front
from pghot.lab.verdict import TITLES
from pghot.printable import printable
from pghot.report.comparison_text import setup_lines
from pghot.units import format_number, format_share, format_size

_TITLES = {**TITLES, "nowhere": "What no machine can do: it knows the future"}


def render(found: Sizes) -> str:
    """The text that `pghot size` prints for one tiers."""
    setup = found.setup
    head = [line for line in setup_lines(setup) if not line.startswith("tiers: ")]
    asked = f"fast memory with which it takes at most {_percent(found.slowdown)} longer than with fast memory alone:"
    lines = _wrapped([*head, f"tiers: {setup.tiers}", asked])
    return "\n".join(
        [*lines, *_groups(found), *_wrapped([*_price_lines([found]), *_cheapest_lines([found])])]
    )


def render_tiers(found: TierSizes) -> str:
    """The text that `pghot size` prints for several tiers."""
    setup = found.found[0].setup
    head = [line for line in setup_lines(setup) if not line.startswith(("tiers: ", "warning: "))]
    wanted = _percent(found.found[0].slowdown)
    asked = f"fast memory with which it takes at most {wanted} longer than the fastest with fast memory alone"
    lines = _wrapped([*head[:2], asked])
    for each in found.found:
        alone = next(point.slowdown for point in each.points if point.label == ALL_FAST) or 1.0
        slower = (
            ""
            if alone == 1
            else f"; with fast memory alone it takes {_percent(alone)} longer than the fastest"
        )
        warnings = [f"warning: {text}" for text in each.setup.warnings]
        lines += ["", *_wrapped([f"{each.tiers}: {each.setup.tiers}{slower}", *warnings]), *_groups(each)]
    return "\n".join(
        [
            *lines,
            "",
            *_wrapped(_price_lines(found.found)),
            *_wrapped(_cheapest_lines(found.found)),
            *_front_lines(found.found),
        ]
    )


def _groups(found: Sizes) -> list[str]:
    """The runs by class, the least memory first."""
    wide = max((len(each.label) for each in found.sizes), default=0)
    lines = []
    for runs_on, title in _TITLES.items():
        group = [each for each in found.sizes if each.runs_on == runs_on]
        if group:
            told = [f"  {each.label:{wide}}  {_told(each, found)}" for each in sorted(group, key=_order)]
            lines += [f"{title}:", *told]
    return lines


def _order(each: Size) -> tuple[bool, float]:
    return each.fast_share is None, each.fast_share or each.at_largest or math.inf


def _told(each: Size, found: Sizes) -> str:
    if each.at_largest is None:
        return "no size that was tried: with the largest it does not do all its work"
    if each.fast_share is None or each.fast_bytes is None:
        largest = f"with the largest it takes {format_share(each.at_largest - 1)} longer"
        if each.missed_by is None:
            return f"no size that was tried, not with every seed: {largest} in the mean"
        return f"no size that was tried: {largest}, {format_number(100 * each.missed_by, 2)} points too many"
    spread = f" ± {format_share(round(each.ci95, 4))}" if each.ci95 is not None else ""
    share = f"{format_share(round(each.fast_share, 3))}{spread} of the footprint"
    return f"{format_size(each.fast_bytes):>10}  {share}{_cost(each.cost, each.cost_ci95, found, ', ')}"


def _cost(cost: float | None, half: float | None, found: Sizes, before: str = "") -> str:
    if cost is None or found.price is None:
        return ""
    return f"{before}{amount(cost, half)} {found.price.currency}"


def amount(cost: float, half: float | None = None) -> str:
    """An amount of money to three digits, or to all before the point, and the half-width of its interval as exactly.

    >>> amount(1234.56), amount(3.14159, 0.26), amount(0.0)
    ('1,235', '3.14 ± 0.26', '0')
    """
    digits = max(0, 2 - math.floor(math.log10(cost))) if cost else 0
    return f"{cost:,.{digits}f}" + (f" ± {half:,.{digits}f}" if half is not None else "")


def _price_lines(found: Sequence[Sizes]) -> list[str]:
    """What the costs rest on, and which tiers have none. Nothing where none has prices and there is one."""
    lines = []
    for each in found:
        if each.price is not None:
            nodes = ", ".join(f"{node} {format_number(value)}" for node, value in each.price.per_gib.items())
            held = format_size(each.setup.footprint_pages * each.setup.page_bytes)
            alone = next(point.cost for point in each.points if point.label == ALL_FAST)
            lines.append(
                f"prices of {each.tiers}: {each.price.currency} a GiB: {nodes} "
                f"({each.price.source}, {each.price.date}); costs are of memory for the footprint, {held}: "
                f"{_cost(alone, None, each)} if all is fast"
            )
        elif len(found) > 1:
            lines.append(f"{each.tiers} has no [price]: what it costs is not known")
    return lines


def _cheapest_lines(found: Sequence[Sizes]) -> list[str]:
    if not any(each.price for each in found):
        return []
    wanted, several = _percent(found[0].slowdown), len(found) > 1
    offer = cheapest(found)
    if offer is None:
        return [f"nothing that can be had today and has a price keeps {wanted}"]
    names = [f"{label} on {tiers}" if several else label for tiers, label in offer.alike]
    on = next(each for each in found if each.tiers == offer.tiers)
    what = f"{offer.label} on {offer.tiers}" if several else offer.label
    alike = f"; the seeds do not tell apart from it: {', '.join(names)}" if names else ""
    cost = _cost(offer.cost, offer.cost_ci95, on)
    return [f"the cheapest of today that keeps {wanted}: {what}, {cost}{alike}"]


def _front_lines(found: Sequence[Sizes]) -> list[str]:
    """The front as a table: what costs less takes longer."""
    kept = front(found)
    if not kept:
        return []
    currency = next(each.price.currency for each in found if each.price)
    rows = [
        ("longer", currency, "fast", "run", "tiers"),
        *(_front_row(tiers, point) for tiers, point in kept),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return [
        "",
        "cost against slowdown: nothing of today that was tried is both cheaper and faster than",
        *(
            "  ".join(
                cell.rjust(width) if column < 3 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ),
    ]


def _front_row(tiers: str, point: Point) -> tuple[str, str, str, str, str]:
    spread = f" ± {100 * point.ci95:.1f}" if point.ci95 is not None else ""
    longer = f"{100 * ((point.slowdown or 1.0) - 1):.1f}{spread} %"
    return longer, amount(point.cost or 0.0), format_share(point.fast_share, 0), point.label, tiers


def _percent(slowdown: float) -> str:
    return f"{format_number(100 * (slowdown - 1), 3)} %"


def _wrapped(lines: list[str]) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(printable(line), 100, subsequent_indent="  ", break_on_hyphens=False)
    ]
