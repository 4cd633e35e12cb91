"""A recording as one self-contained HTML page that works offline: all of its reports, or one of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pghot.printable import printable
from pghot.recording.activity import Activity
from pghot.recording.heat import HeatMap
from pghot.recording.hot_curve import Counts
from pghot.recording.ratios import lines as content_lines
from pghot.recording.working_set import WorkingSet
from pghot.report import recording_charts as charts
from pghot.report.explain_page import Explained, explained_section, life_chart
from pghot.report.facts import Facts
from pghot.report.heat_page import heat_map
from pghot.report.html import drawn, listed, page
from pghot.report.recording_tables import ranges_table, regions_table, sites_table, threads_table
from pghot.report.region_colours import RegionColours
from pghot.report.summary_text import ran, remarks, totals, verification
from pghot.report.templates import filled
from pghot.version import __version__

_HEAT_NOTE = (
    "Memory in the order of its addresses, process by process: only what was touched is there, rows hold equal amounts "
    "of it, and long cold stretches are folded into one. From the left to the right is time. The colour is the heat, "
    "on a logarithmic scale."
)


@dataclass(frozen=True, slots=True)
class PageParts:
    """What a page shows of a recording, all from one reading.

    facts     a `pghot.summary` document
    activity  of the whole recording: it also names and colours the regions of the map, and says how they lived
    misses    uint64[footprint] of each touched page, for the hot-set curve and the tables of the summary; None: a page
              without these
    explained what is explained, and what runs did about it
    """

    facts: Facts
    activity: Activity
    heat: HeatMap | None = None
    working_set: WorkingSet | None = None
    timeline: bool = False
    misses: Counts | None = None
    explained: Explained | None = None


def render(parts: PageParts, command: Sequence[str]) -> str:
    """The page; every string from outside is escaped."""
    facts, lives = parts.facts, parts.activity
    colours = RegionColours(lives.regions)
    whole = parts.misses is not None
    shown = []
    if parts.explained is not None:
        shown += life_chart(parts.explained.life)
    if parts.misses is not None:
        shown += charts.hot_set(parts.misses, facts["page_bytes"])
    if parts.working_set is not None:
        shown += charts.working_set(parts.working_set)
    if parts.timeline:
        shown += charts.timeline(lives, colours)
    heat = parts.heat if parts.heat is not None and parts.heat.cells.any() else None
    empty = []
    if parts.heat is not None and heat is None:
        empty.append(f"No heat map: no {parts.heat.measure} were recorded.")
    body = filled(
        "recording.html",
        trust=printable(verification(facts)),
        command=printable(ran(facts)),
        figures=listed(list(map(printable, [*totals(facts), *remarks(facts)]))),
        contents="\n".join(map(printable, content_lines(facts["compressibility"]))) if whole else "",
        heat=heat and {"note": _HEAT_NOTE, "map": heat_map(heat, lives, colours)},
        empty=empty,
        tables={
            "regions": regions_table(facts, lives, colours) if whole and lives.regions else None,
            "ranges": ranges_table(facts, colours) if whole else None,
            "sites": sites_table(facts) if whole else None,
            "threads": threads_table(lives) if whole or parts.timeline else None,
        },
        charts=drawn(shown),
        explained=parts.explained and explained_section(parts.explained),
        reproduce=shlex.join(command),
        version=__version__,
    )
    name = printable(facts["name"])
    extra = ["heat_map.css", *(["heat_map.js"] if heat is not None else [])]
    return page(name, f"Where memory is hot: {name}", body, extra)
