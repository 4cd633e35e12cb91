"""The hot-set curve in the terminal, and the regions of a recording with their hot ranges."""

from __future__ import annotations

from collections.abc import Sequence

from pghot.arrays import F64
from pghot.printable import elided, printable
from pghot.report.facts import Facts
from pghot.report.terminal import axis, bars
from pghot.units import format_share, format_short_size

HEIGHT = 6
SCALE = 6  # columns of the vertical axis
MOST_WIDTH = 73
SHOWN_RANGES = 4  # of one region
WORTH_RANGES = 0.01  # of all misses: a region that takes less is not parted
_NAME = 32


def columns_for(width: int) -> int:
    """How many points of the curve fit."""
    return min(width, MOST_WIDTH + SCALE) - SCALE


def curve(shares: F64, footprint_bytes: int) -> list[str]:
    """The curve over 0.1 % to 100 % of the footprint, on a logarithmic scale; `shares` is one for each column."""
    if not shares.any():
        return ["no hot-set curve: no cache misses were recorded"]
    lines = bars(shares, HEIGHT, most=1.0)
    heads = {0: "100 % ", HEIGHT // 2: " 50 % "}
    width = len(shares)
    return [
        "share of the misses that the hottest memory takes",
        *(f"{heads.get(number, ' ' * SCALE)}{line.rstrip()}" for number, line in enumerate(lines)),
        " " * SCALE + axis(["0.1 %", "1 %", "10 %", "100 %"], width),
        " " * SCALE
        + axis([format_short_size(footprint_bytes * share) for share in (0.001, 0.01, 0.1, 1)], width),
    ]


def regions(facts: Facts) -> list[str]:
    """The regions, most misses first, each with its hot ranges where these are only a part of it."""
    lines = [f"{'region':{_NAME}} {'touched':>9} {'misses':>15} {'share':>7} {'writes':>13}"]
    total = max(1, facts["misses"])
    for region in facts["regions"]:
        touched = region["pages"] * facts["page_bytes"]
        lines.append(
            f"{elided(printable(region['name']), _NAME):{_NAME}} {format_short_size(touched):>9} "
            f"{region['misses']:>15,} {format_share(region['misses'] / total):>7} {region['writes']:>13,}"
        )
        own = [each for each in facts["hot_ranges"] if each["name"] == region["name"]]
        lines += _ranges(own, region, total, facts["page_bytes"])
    return lines


def _ranges(own: Sequence[Facts], region: Facts, total: int, page_bytes: int) -> list[str]:
    """Nothing for a region that is one hot range, or that matters little."""
    one = len(own) < 2 and sum(each["pages"] for each in own) * 2 > region["pages"]
    if one or region["misses"] < WORTH_RANGES * total:
        return []
    lines = [_line(_place(each), each, total, page_bytes) for each in own[:SHOWN_RANGES]]
    if rest := own[SHOWN_RANGES:]:
        all_of = {key: sum(each[key] for each in rest) for key in ("pages", "misses")}
        lines.append(_line(f"{len(rest)} more hot ranges", all_of, total, page_bytes))
    return lines


def _line(what: str, each: Facts, total: int, page_bytes: int) -> str:
    return (
        f"  {what:{_NAME - 2}} {format_short_size(each['pages'] * page_bytes):>9} {each['misses']:>15,} "
        f"{format_share(each['misses'] / total):>7}"
    )


def _place(each: Facts) -> str:
    if each["start_address"] is None:
        return "at an unknown address"
    return f"{each['start_address']:x}-{each['end_address']:x}"
