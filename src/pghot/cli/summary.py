"""`pghot report FILE`: what a recording holds."""

from __future__ import annotations

import json

from pghot.cli.report_options import RecordingName, opened, read
from pghot.cli.shared_options import Json

ROWS = 16


def summary(recording: RecordingName, json_: Json = False) -> None:
    """Footprint, hot set, heat map and regions of a recording; `pghot report FILE` is the same."""
    from rich.text import Text

    from pghot.cli.screen import Screen
    from pghot.recording.heat import Heat, measure_of
    from pghot.recording.hot_curve import hot_curve, ladder
    from pghot.recording.summary import summary_of
    from pghot.recording.time_bins import at_most
    from pghot.recording.totals import PageTotals, TaskTotals
    from pghot.report import heat_text, hot_set_text
    from pghot.report.summary_text import render

    trace = opened(recording)
    screen = Screen()
    pages, tasks = PageTotals(trace.pages), TaskTotals()
    heat = Heat(trace, measure_of(trace), at_most(trace, heat_text.bins_for(screen.width)))
    read(trace, pages, tasks, heat)
    facts = summary_of(trace, pages, tasks)
    if json_:
        print(json.dumps(facts))
        return
    misses = pages.misses[pages.touches > 0]
    shares = hot_curve(misses, ladder(len(misses), hot_set_text.columns_for(screen.width)))
    pictures: list[Text | str] = [
        "",
        *hot_set_text.curve(shares, facts["footprint_bytes"]),
        "",
        *heat_text.render(heat.map(pages, ROWS), screen.colour),
        "",
    ]
    screen.show(render(facts, pictures))
