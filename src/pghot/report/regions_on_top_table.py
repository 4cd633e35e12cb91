"""Which regions each run has in the top tier, as a table of a comparison's page."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pghot.lab.outcomes import SummaryRow
from pghot.lab.regions_on_top import RegionOnTop
from pghot.printable import elided, printable
from pghot.report.templates import filled
from pghot.units import format_share

SHOWN = 8
_NAME = 24


def regions_on_top(rows: Sequence[SummaryRow]) -> Markup | None:
    """A line for each run, two columns for each of the regions with most misses; None where no region is known."""
    regions = rows[0].regions[:SHOWN] if rows else ()
    if not regions:
        return None
    return filled(
        "regions_on_top.html",
        regions=[
            {
                "full": printable(each.name),
                "name": elided(printable(each.name), _NAME),
                "share": format_share(each.miss_share),
            }
            for each in regions
        ],
        rows=[{"label": printable(row.label), "cells": _cells(row, regions)} for row in rows],
    )


def _cells(row: SummaryRow, regions: Sequence[RegionOnTop]) -> list[tuple[float, str]]:
    """Share of the misses and of the pages, each as a number to sort by and as text."""
    own = {each.name: each for each in row.regions}
    return [_cell(share) for region in regions for share in _shares(own.get(region.name))]


def _shares(found: RegionOnTop | None) -> tuple[float | None, float | None]:
    return (found.fast_miss_share, found.top_share) if found else (None, None)


def _cell(share: float | None) -> tuple[float, str]:
    return (-1.0, "–") if share is None else (share, format_share(share))
