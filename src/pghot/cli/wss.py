"""`pghot report wss`: the working set of a program over time."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pghot.cli.given import refuse_unused
from pghot.cli.report_options import (
    GOES_WITH,
    Force,
    Makes,
    Output,
    RecordingName,
    checked,
    opened,
    read,
    wants_page,
    write_all,
)
from pghot.cli.shared_options import Json
from pghot.units import parse_duration_ns


def wss(
    ctx: typer.Context,
    recording: RecordingName,
    window: Annotated[
        str, typer.Option(metavar="TIME", help="length of a window; default: 200 of them or fewer")
    ] = "",
    output: Output = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """The working set: memory touched in each window of time, and what takes most of its misses."""
    refuse_unused(ctx, GOES_WITH)
    window_ns = parse_duration_ns(window) if window else None
    paths = checked(output, force)
    from pghot.cli.report_page import PageReading
    from pghot.cli.screen import Screen
    from pghot.recording.not_known import not_known
    from pghot.recording.time_bins import windows
    from pghot.recording.working_set import WorkingSets
    from pghot.report.recording_documents import wss_document, wss_table
    from pghot.report.wss_text import render

    trace = opened(recording)
    sets = WorkingSets(trace, windows(trace, window_ns))
    paged = PageReading(trace)
    read(trace, *(paged.parts if wants_page(paths) else ()), sets)
    found, unknown = sets.result(), not_known(trace)

    def draw(suffix: str) -> bytes:
        from pghot.report import wss_picture

        return wss_picture.draw(found, suffix)

    write_all(paths, force, Makes(lambda: paged.page(working_set=found), draw, lambda: wss_table(found)))
    if json_:
        print(json.dumps(wss_document(found, unknown)))
    else:
        screen = Screen()
        screen.show([*render(found, screen.width), *unknown])
