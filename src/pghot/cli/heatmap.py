"""`pghot report heatmap`: where the memory of a program is hot, and when."""

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
from pghot.errors import unknown_name

SCREEN_ROWS = 32
FILE_ROWS = FILE_COLUMNS = 512


def heatmap(
    ctx: typer.Context,
    recording: RecordingName,
    of: Annotated[str, typer.Option(help="misses, touches or writes; default: misses if there are any")] = "",
    rows: Annotated[int | None, typer.Option(min=1, max=1024, help="the most rows of addresses")] = None,
    columns: Annotated[int | None, typer.Option(min=1, max=1024, help="the most columns of time")] = None,
    output: Output = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Address x time: where memory is hot, and when; cold stretches folded, gaps marked."""
    refuse_unused(ctx, GOES_WITH)
    paths = checked(output, force)
    from pghot.cli.report_page import PageReading
    from pghot.cli.screen import Screen
    from pghot.recording.heat import MEASURES, Heat, measure_of
    from pghot.recording.not_known import not_known
    from pghot.recording.time_bins import at_most
    from pghot.report.heat_text import bins_for, render
    from pghot.report.recording_documents import heat_document, heat_table

    if of and of not in MEASURES:
        raise unknown_name("measure", of, list(MEASURES))
    trace = opened(recording)
    measure = next((each for each in MEASURES if each == of), measure_of(trace))
    screen, paged = Screen(), PageReading(trace)
    shown = Heat(trace, measure, at_most(trace, columns or bins_for(screen.width)))
    filed = Heat(trace, measure, at_most(trace, columns or FILE_COLUMNS))
    read(trace, *(paged.parts if wants_page(paths) else (paged.pages,)), shown, filed)
    found = filed.map(paged.pages, rows or FILE_ROWS)
    unknown = not_known(trace)

    def draw(suffix: str) -> bytes:
        from pghot.report import heat_picture

        return heat_picture.draw(found, suffix)

    write_all(paths, force, Makes(lambda: paged.page(heat=found), draw, lambda: heat_table(found)))
    if json_:
        print(json.dumps(heat_document(found, unknown)))
    else:
        screen.show([*render(shown.map(paged.pages, rows or SCREEN_ROWS), screen.colour), *unknown])
