"""The tables of a recording's page: its regions, their hot ranges, which calls mapped them, and its threads."""

from __future__ import annotations

from markupsafe import Markup

from pghot.printable import elided, printable
from pghot.recording.activity import Activity
from pghot.report.facts import Facts
from pghot.report.heat_page import LIVES, where
from pghot.report.region_colours import RegionColours
from pghot.report.sites_text import by_call
from pghot.report.sparkline import sparkline
from pghot.report.templates import filled
from pghot.units import format_share, format_short_size

SHOWN_RANGES, SHOWN_SITES, SHOWN_THREADS = 30, 30, 30
_NAME = 40


def regions_table(facts: Facts, lives: Activity, colours: RegionColours) -> Markup:
    """The regions of the summary. The name of one whose life the map can show is a button."""
    numbers = {name: number for number, name in enumerate(lives.regions)}
    total = max(1, facts["misses"])
    rows = []
    for region in facts["regions"]:
        number = numbers.get(region["name"])
        if number is None:  # never touched
            continue
        size, colour = region["pages"] * facts["page_bytes"], colours.of(region["name"])
        rows.append(
            {
                **region,
                "full": printable(region["name"]),
                "name": elided(printable(region["name"]), _NAME),
                "colour": colour,
                "life": number if number < LIVES else None,
                "bytes": size,
                "touched": format_short_size(size),
                "share": format_share(region["misses"] / total),
                "spark": sparkline(lives.by_region[1, number], colour),
            }
        )
    return filled("regions.html", regions=rows)


def ranges_table(facts: Facts, colours: RegionColours) -> Markup | None:
    """The hot ranges; None without any."""
    total, page_bytes = max(1, facts["misses"]), facts["page_bytes"]
    rows = [
        {
            **each,
            "full": printable(each["name"]),
            "name": elided(printable(each["name"]), _NAME),
            "colour": colours.of(each["name"]),
            "where": where(each["start_address"], each["end_address"]),
            "touched": format_short_size(each["pages"] * page_bytes),
            "hot": format_short_size(each["hot_pages"] * page_bytes),
            "share": format_share(each["misses"] / total),
        }
        for each in facts["hot_ranges"]
    ]
    return filled("ranges.html", ranges=rows[:SHOWN_RANGES], more=len(rows[SHOWN_RANGES:])) if rows else None


def sites_table(facts: Facts) -> Markup | None:
    """The calls that mapped the memory, each with its chain; None where they were not recorded."""
    total, page_bytes = max(1, facts["misses"]), facts["page_bytes"]
    rows = [
        {
            **each,
            "call": printable(each["call"]),
            "chain": "\n".join(map(printable, each["frames"])),
            "touched": format_short_size(each["pages"] * page_bytes),
            "share": format_share(each["misses"] / total),
        }
        for each in by_call(facts["sites"])
    ]
    return filled("sites.html", sites=rows[:SHOWN_SITES], more=len(rows[SHOWN_SITES:])) if rows else None


def threads_table(lives: Activity) -> Markup | None:
    """The threads; None where there are not several."""
    if len(lives.threads) < 2:
        return None
    totals = lives.by_thread.sum(axis=2)
    all_misses = max(1, int(totals[1].sum()))
    rows = [
        {
            "name": printable(name),
            "touches": int(totals[0, number]),
            "misses": int(totals[1, number]),
            "writes": int(totals[2, number]),
            "share": format_share(int(totals[1, number]) / all_misses),
            "spark": sparkline(lives.by_thread[1, number], "var(--ink)"),
        }
        for number, name in enumerate(lives.threads[:SHOWN_THREADS])
    ]
    return filled("threads.html", threads=rows, more=len(lives.threads[SHOWN_THREADS:]))
