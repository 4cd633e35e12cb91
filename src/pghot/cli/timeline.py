"""`pghot report timeline`: what each region and thread did over time."""

from __future__ import annotations

import json

import typer

from pghot.cli.given import refuse_unused
from pghot.cli.report_options import (
    GOES_WITH,
    Force,
    Makes,
    RecordingName,
    TraceOutput,
    checked,
    opened,
    read,
    wants_page,
    write_all,
)
from pghot.cli.shared_options import Json

FILE_BINS = 512


def timeline(
    ctx: typer.Context,
    recording: RecordingName,
    output: TraceOutput = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Misses, writes and threads by region over time, and misses by thread."""
    refuse_unused(ctx, GOES_WITH)
    from pghot.report import perfetto

    paths = checked(output, force, more=[perfetto.SUFFIX])
    from pghot.cli.report_page import PageReading
    from pghot.cli.screen import Screen
    from pghot.recording.activity import Activities
    from pghot.recording.not_known import not_known
    from pghot.recording.time_bins import at_most
    from pghot.report.recording_documents import timeline_document, timeline_table
    from pghot.report.timeline_text import bins_for, render

    trace, screen = opened(recording), Screen()
    shown = Activities(trace, at_most(trace, bins_for(screen.width)))
    filed = Activities(trace, at_most(trace, FILE_BINS))
    paged = PageReading(trace)
    read(trace, *(paged.parts if wants_page(paths) else ()), shown, filed)
    found, unknown = filed.result(), not_known(trace)

    def draw(suffix: str) -> bytes:
        from pghot.report import timeline_picture

        return timeline_picture.draw(found, suffix)

    makes = Makes(
        lambda: paged.page(timeline=True),
        draw,
        lambda: timeline_table(found),
        {perfetto.SUFFIX: lambda: perfetto.trace(found)},
    )
    write_all(paths, force, makes)
    if json_:
        print(json.dumps(timeline_document(found, unknown)))
    else:
        screen.show([*render(shown.result()), *unknown])
