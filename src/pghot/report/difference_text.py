"""Two recordings side by side, as lines, JSON and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pghot.printable import elided, printable
from pghot.recording.difference import Difference, RegionChange
from pghot.report.heat_levels import short
from pghot.units import format_duration, format_percent, format_share, format_short_size

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = "pghot.diff/1"
SHOWN = 20
_NAME = 23


def lines(found: Difference) -> list[str]:
    """What `pghot report diff` prints of two recordings."""
    what = found.measure
    head = f"{'region':{_NAME}} {'touched':>8} {'after':>9} {what + '/s':>9} {'after':>7} {'points':>7}"
    rows = [_row(each) for each in found.changes[:SHOWN]]
    more = len(found.changes) - SHOWN
    return [
        *head_lines(found),
        "",
        head,
        *rows,
        *([f"and {more} more that changed less"] if more > 0 else []),
    ]


def head_lines(found: Difference) -> list[str]:
    """What the recordings are, as wholes, and how much of the heat moved."""
    heat = [side.rates[f"{found.measure}_per_s"] for side in (found.before, found.after)]
    said = [
        f"{place}: {printable(side.name)}, {format_duration(side.duration_s * 1e9)}, touched "
        f"{format_short_size(side.footprint_bytes)}, {short(rate)} {found.measure} per second"
        for place, side, rate in zip(("before", "after"), (found.before, found.after), heat, strict=True)
    ]
    moved = f"{format_share(found.moved_share)} of the {found.measure} moved to other regions"
    if found.measure == "touches":
        moved += "; touches, because one of them has no misses"
    return [*said, moved]


def _row(each: RegionChange) -> str:
    points = format_percent(each.share_after - each.share_before, sign="+")
    return (
        f"{elided(printable(each.name), _NAME):{_NAME}} {format_short_size(each.bytes_before):>8} "
        f"{format_short_size(each.bytes_after):>9} {short(each.rate_before):>9} {short(each.rate_after):>7} "
        f"{points:>7} {', '.join(each.words)}"
    ).rstrip()


def document(found: Difference, not_known: Sequence[Sequence[str]]) -> dict[str, Any]:
    """A `pghot.diff/1` document; `not_known` before and after."""
    sides = {
        place: {
            "name": side.name,
            "duration_s": side.duration_s,
            "footprint_bytes": side.footprint_bytes,
            "misses": side.misses,
            "touches": side.touches,
            "not_known": list(unknown),
        }
        for place, side, unknown in zip(
            ("before", "after"), (found.before, found.after), not_known, strict=True
        )
    }
    return {
        "schema": SCHEMA,
        "measure": found.measure,
        **sides,
        "moved_share": found.moved_share,
        "regions": [{**asdict(each), "words": each.words} for each in found.changes],
    }


def table(found: Difference) -> pa.Table:
    """A line for each region."""
    import pyarrow as pa

    return pa.Table.from_pylist([{**asdict(each), "change": ", ".join(each.words)} for each in found.changes])
