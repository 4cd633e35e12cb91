"""`pghot report FILE`: what a recording holds."""

from __future__ import annotations

import json
import sys

import typer

from pghot.cli.given import refuse_unused
from pghot.cli.report_options import GOES_WITH, Force, PageOutput, RecordingName, checked, opened, read
from pghot.cli.shared_options import Json

ROWS = 16
PAGE_ROWS = PAGE_COLUMNS = 512


def summary(
    ctx: typer.Context,
    recording: RecordingName,
    output: PageOutput = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Footprint, hot set, heat map and regions of a recording; `pghot report FILE` is the same."""
    refuse_unused(ctx, GOES_WITH)
    paths = checked(output, force, pictures=False, tables=False)
    from rich.text import Text

    from pghot.cli.report_page import PageReading
    from pghot.cli.screen import Screen
    from pghot.recording.heat import Heat, measure_of
    from pghot.recording.hot_curve import hot_curve, ladder
    from pghot.recording.time_bins import at_most, windows
    from pghot.recording.working_set import WorkingSets
    from pghot.report import heat_text, hot_set_text
    from pghot.report.files import write_page
    from pghot.report.summary_text import render

    trace, screen = opened(recording), Screen()
    measure, paged = measure_of(trace), PageReading(trace)
    heat = Heat(trace, measure, at_most(trace, heat_text.bins_for(screen.width)))
    fine = Heat(trace, measure, at_most(trace, PAGE_COLUMNS))
    sets = WorkingSets(trace, windows(trace, None))
    read(trace, heat, *((*paged.parts, fine, sets) if paths else paged.totals))
    for path in paths:
        found = fine.map(paged.pages, PAGE_ROWS)
        write_page(paged.page(found, sets.result(), timeline=True, whole=True), path, force)
        print(f"wrote {path}", file=sys.stderr)
    facts = paged.facts()
    if json_:
        print(json.dumps(facts))
        return
    misses = paged.misses
    shares = hot_curve(misses, ladder(len(misses), hot_set_text.columns_for(screen.width)))
    pictures: list[Text | str] = [
        "",
        *hot_set_text.curve(shares, facts["footprint_bytes"]),
        "",
        *heat_text.render(heat.map(paged.pages, ROWS), screen.colour),
        "",
    ]
    screen.show(render(facts, pictures))
