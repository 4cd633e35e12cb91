"""`pghot report explain`: what a page or a region did, and what each policy did about it, and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pghot.cli.given import refuse_unused
from pghot.cli.report_options import (
    GOES_WITH,
    Force,
    Makes,
    Output,
    checked,
    opened,
    read,
    wants_page,
    write_all,
)
from pghot.cli.shared_options import Json
from pghot.errors import UsageError

FILE_BINS = 512


def explain(
    ctx: typer.Context,
    recording: Annotated[
        str,
        typer.Argument(metavar="FILE|-", help="FILE or bundled:NAME; - with the --log of a live run"),
    ],
    what: Annotated[str, typer.Argument(metavar="WHAT", help="0xADDR, 0xFROM-0xTO or the name of a region")],
    log: Annotated[
        str,
        typer.Option(help="FILE.parquet of `pghot compare --log` or `pghot run --log`: what each policy did"),
    ] = "",
    output: Output = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """A page or a region: what it did over time, what each policy did about it, and why."""
    refuse_unused(ctx, GOES_WITH)
    paths = checked(output, force)
    if recording == "-":
        _explain_live(what, log, paths, force, json_)
        return
    from pghot.cli.report_page import PageReading
    from pghot.cli.screen import Screen
    from pghot.decision_log.reading import DecisionLog
    from pghot.recording.life import Lives
    from pghot.recording.not_known import not_known
    from pghot.recording.target import target_of
    from pghot.recording.time_bins import at_most
    from pghot.report.chains import chains_of
    from pghot.report.explain_documents import document, table
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

    def page() -> str:
        from pghot.report.explain_page import Explained

        return paged.page(explained=Explained(found, chains))

    def draw(suffix: str) -> bytes:
        from pghot.report import explain_picture

        return explain_picture.draw(found, suffix)

    write_all(paths, force, Makes(page, draw, lambda: table(found, chains)))
    if json_:
        print(json.dumps(document(found, chains, unknown)))
    else:
        screen.show([*render(shown.result(paged.pages), chains, screen.width), *unknown])


def _explain_live(what: str, log: str, paths: Sequence[Path], force: bool, json_: bool) -> None:
    """Pages of a live run, of which there is a log and no recording."""
    from pghot.cli.screen import Screen
    from pghot.decision_log.left_out import left_out_words
    from pghot.decision_log.reading import DecisionLog
    from pghot.recording.target import target_of
    from pghot.report.chains import chains_of
    from pghot.report.explain_documents import chain_table, live_document
    from pghot.report.explain_text import render_live

    if not log:
        raise UsageError("without a recording, a log says what became of a page", "add --log FILE.parquet")
    decisions, screen = DecisionLog(log), Screen()
    regions = decisions.live()
    target, page_bytes = target_of(regions, what), regions.info.page_bytes
    chains = chains_of(decisions, target, page_bytes)
    left_out = [line for each in chains for line in left_out_words(each.facts)]

    def page() -> str:
        from pghot.report.live_explain_page import render

        return render(target, page_bytes, chains, left_out, ["pghot", *sys.argv[1:]])

    def draw(suffix: str) -> bytes:
        from pghot.report import live_explain_picture

        return live_explain_picture.draw(target.title, chains[0], suffix)

    write_all(paths, force, Makes(page, draw, lambda: chain_table(chains)))
    if json_:
        print(json.dumps(live_document(regions.info.name, target, page_bytes, chains, left_out)))
    else:
        screen.show(render_live(target, page_bytes, chains, left_out, screen.width))
