"""A heat map on a page: a canvas that a script draws, and beside it the regions by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from pghot.printable import elided, printable
from pghot.recording.activity import COLUMNS, Activity
from pghot.recording.address_rows import Row
from pghot.recording.heat import HeatMap
from pghot.recording.hot_ranges import APART_BYTES
from pghot.recording.time_bins import runs
from pghot.report.heat_colours import hexadecimal, seen
from pghot.report.heat_levels import Levels, heat_of, levels_of, short
from pghot.report.html import packed
from pghot.report.region_colours import RegionColours
from pghot.report.templates import filled, inside_a_script
from pghot.units import counted, format_duration, format_share, format_short_size

LIVES = 20  # regions whose life is shown on a click
STEPS = 255  # of heat, in a byte; 0 is none at all
_HEIGHT, _FOLDED_HEIGHT, _MOST_HEIGHT = 512, 10, 24  # px: of all rows together, of a folded one, of any row
_LABEL_HEIGHT = 16  # px
_NAME = 20


@dataclass(frozen=True, slots=True)
class _Label:
    """Beside row `top`, in px; region: which life it shows, None for what has none."""

    top: float
    text: str
    name: str
    region: int | None
    cold: bool


def heat_map(found: HeatMap, lives: Activity, colours: RegionColours) -> Markup:
    """The map, its legend, and what shows the life of a page or region. `lives` is of the same recording.

    found has rows, and some heat.
    """
    heat = heat_of(found)
    levels = levels_of(found, heat)
    tops = _tops(found.rows)
    named = {name: number for number, name in enumerate(lives.regions[:LIVES])}
    unseen = runs(~found.recorded)
    whole_ns = found.time.bins * found.time.bin_ns
    facts = {
        "measure": found.measure,
        "unit": levels.unit,
        "least": levels.least,
        "most": levels.most,
        "bins": found.time.bins,
        "bin_s": found.time.bin_ns / 1e9,
        "unseen": unseen,
        "levels": packed((levels.of(heat, STEPS) + 1).astype(np.uint8).tobytes()),
        "rows": [_row_facts(row, found, colours) for row in found.rows],
        "tops": tops,
        "palette": {name: _palette(name == "dark") for name in ("light", "dark")},
        "regions": [_life(lives, number, colours) for number in named.values()],
        "activity_bin_s": lives.time.bin_ns / 1e9,
    }
    return filled(
        "heat_map.html",
        height=tops[-1],
        labels=_labels(found, tops, named),
        description=f"heat map of {printable(found.name)}: {counted(len(found.rows), 'row')} of memory, "
        f"{found.time.bins} of time",
        ends=["0 s", format_duration(whole_ns / 2), format_duration(whole_ns)],
        gradients={name: _gradient(name == "dark") for name in ("light", "dark")},
        unit=levels.unit,
        bounds=_bounds(levels),
        bin=format_duration(found.time.bin_ns),
        unseen=unseen,
        facts=inside_a_script(json.dumps(facts, separators=(",", ":"))),
    )


def _tops(rows: Sequence[Row]) -> list[float]:
    """Where each row begins and the last ends, in px. All are equally high, but folded ones can always be seen."""
    usual = min(_HEIGHT / len(rows), _MOST_HEIGHT)
    heights = [max(usual, _FOLDED_HEIGHT) if row.folded else usual for row in rows]
    return [round(top, 3) for top in np.cumsum([0, *heights]).tolist()]


def _labels(found: HeatMap, tops: Sequence[float], named: dict[str, int]) -> list[_Label]:
    """The names of neighbouring rows of one region, the hottest first, where there is room."""
    groups: list[list[int]] = []
    for number, row in enumerate(found.rows):
        last = found.rows[groups[-1][0]] if groups else None
        same = last and (last.space, last.name, last.folded) == (row.space, row.name, row.folded)
        if same and not row.folded:
            groups[-1].append(number)
        else:
            groups.append([number])
    taken: list[_Label] = []
    for group in sorted(groups, key=lambda group: -sum(found.rows[number].heat for number in group)):
        row = found.rows[group[0]]
        top = min(tops[group[0]], tops[-1] - _LABEL_HEIGHT)
        if all(abs(top - other.top) >= _LABEL_HEIGHT for other in taken):
            size = format_short_size(row.pages * found.page_bytes)
            text = f"cold, {size}" if row.folded else elided(printable(row.name), _NAME)
            taken.append(
                _Label(
                    top, text, printable(row.name), None if row.folded else named.get(row.name), row.folded
                )
            )
    return sorted(taken, key=lambda label: label.top)


def _row_facts(row: Row, found: HeatMap, colours: RegionColours) -> dict[str, Any]:
    more = f" and {row.regions - 1} smaller" if row.regions > 1 else ""
    total = max(1, int(found.cells.sum()))
    return {
        "name": f"{'cold: ' if row.folded else ''}{printable(row.name)}{more}",
        "where": where(row.start_address, row.end_address),
        "note": f"{format_short_size(row.pages * found.page_bytes)} touched, {row.heat:,} {found.measure} "
        f"({format_share(row.heat / total)} of all)",
        "colour": colours.of(row.name),
        "apart": row.gap_bytes is None or row.gap_bytes >= APART_BYTES,
    }


def where(start_address: int | None, end_address: int | None) -> str:
    """
    >>> where(4096, 12288), where(None, None)
    ('1000-3000', 'at an unknown address')
    """
    if start_address is None or end_address is None:
        return "at an unknown address"
    return f"{start_address:x}-{end_address:x}"


def _life(lives: Activity, number: int, colours: RegionColours) -> dict[str, Any]:
    """What a region did over time, per second; None where nobody looked."""
    own = lives.by_region[:, number]
    seconds = lives.time.bin_ns / 1e9
    totals = dict(zip(COLUMNS, own.sum(axis=1).tolist(), strict=True))
    return {
        "name": printable(lives.regions[number]),
        "note": ", ".join(f"{count:,} {what}" for what, count in totals.items()),
        "colour": colours.of(lives.regions[number]),
        **{
            what: [
                float(f"{count / seconds:.4g}") if looked else None
                for count, looked in zip(counts.tolist(), lives.recorded.tolist(), strict=True)
            ]
            for what, counts in zip(COLUMNS, own, strict=True)
        },
    }


def _palette(dark: bool) -> str:
    """The colours of all steps, six digits each."""
    return "".join(hexadecimal(colour)[1:] for colour in seen(dark, STEPS))


def _gradient(dark: bool) -> Markup:
    return Markup(f"linear-gradient(90deg,{','.join(map(hexadecimal, seen(dark, 16)))})")


def _bounds(levels: Levels) -> list[str]:
    return [short(bound) for bound in levels.bounds(4)]
