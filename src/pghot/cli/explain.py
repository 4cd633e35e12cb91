"""`pghot report explain`: what a page or a region did, and what each policy did about it, and why."""

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

FILE_BINS = 512


def explain(
    ctx: typer.Context,
    recording: RecordingName,
    what: Annotated[str, typer.Argument(metavar="WHAT", help="0xADDR, 0xFROM-0xTO or the name of a region")],
    log: Annotated[
        str, typer.Option(help="FILE.parquet of `pghot compare --log`: what each policy did")
    ] = "",
    output: Output = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """A page or a region: what it did over time, what each policy did about it, and why."""
    refuse_unused(ctx, GOES_WITH)
    paths = checked(output, force)
    from pghot.cli.report_page import PageReading
    from pghot.cli.screen import Screen
    from pghot.lab.decision_log.reading import DecisionLog
    from pghot.recording.life import Lives
    from pghot.recording.not_known import not_known
    from pghot.recording.target import target_of
    from pghot.recording.time_bins import at_most
    from pghot.report import explain_picture
    from pghot.report.chains import chains_of
    from pghot.report.explain_documents import document, table
    from pghot.report.explain_page import Explained
    from pghot.report.explain_text import bins_for, render

    trace, screen = opened(recording), Screen()
    target = target_of(trace, what)
    decisions = DecisionLog(log) if log else None
    if decisions is not None:
        decisions.check_of(trace)
    shown = Lives(trace, target, at_most(trace, bins_for(screen.width)))
    filed = Lives(trace, target, at_most(trace, FILE_BINS))
    paged = PageReading(trace)
    read(trace, *(paged.parts if wants_page(paths) else (paged.pages,)), shown, filed)
    found, unknown = filed.result(paged.pages), not_known(trace)
    chains = chains_of(decisions, target, trace.info.page_bytes) if decisions is not None else []
    makes = Makes(
        lambda: paged.page(explained=Explained(found, chains)),
        lambda suffix: explain_picture.draw(found, suffix),
        lambda: table(found, chains),
    )
    write_all(paths, force, makes)
    if json_:
        print(json.dumps(document(found, chains, unknown)))
    else:
        screen.show([*render(shown.result(paged.pages), chains, screen.width), *unknown])
