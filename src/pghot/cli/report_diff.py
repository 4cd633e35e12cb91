"""`pghot report diff A B`: two recordings side by side, or two results of `compare --json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pghot.cli.given import refuse_unused
from pghot.cli.report_options import GOES_WITH, Force, checked, opened, read
from pghot.cli.shared_options import Json
from pghot.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

Either = Annotated[
    str, typer.Argument(help="a recording, bundled:NAME, or a result of `compare --json` (.json)")
]
Output = Annotated[
    list[str] | None, typer.Option("--output", "-o", help="FILE.html, .csv, .parquet or .arrow")
]


def diff(
    ctx: typer.Context,
    before: Either,
    after: Either,
    output: Output = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """What grew, cooled and moved between two recordings, or gains more or less in two results."""
    refuse_unused(ctx, GOES_WITH)
    paths = checked(output, force, pictures=False)
    results = [Path(name).suffix == ".json" for name in (before, after)]
    if results[0] != results[1]:
        raise UsageError(
            "a recording and a result have nothing to compare", "give two recordings, or two results (.json)"
        )
    lines, document, page, table = (_of_results if results[0] else _of_recordings)(before, after)
    from pghot.report.files import PAGES, write_page, write_table

    for path in paths:
        if path.suffix in PAGES:
            write_page(page(["pghot", *sys.argv[1:]]), path, force)
        else:
            write_table(table(), path, force)
        print(f"wrote {path}", file=sys.stderr)
    print(json.dumps(document()) if json_ else "\n".join(lines()))


Forms = tuple[
    Callable[[], list[str]],
    Callable[[], dict[str, Any]],
    Callable[[list[str]], str],
    Callable[[], "pa.Table"],
]


def _of_recordings(before: str, after: str) -> Forms:
    from pghot.recording.difference import difference, side_of
    from pghot.recording.not_known import not_known
    from pghot.recording.totals import PageTotals
    from pghot.report import difference_text

    sides, unknown = [], []
    for name in (before, after):
        trace = opened(name)
        totals = PageTotals(trace.pages)
        read(trace, totals)
        sides.append(side_of(trace, totals))
        unknown.append(not_known(trace))
    found = difference(*sides)

    def page(command: list[str]) -> str:
        from pghot.report.difference_page import recordings_page

        return recordings_page(found, command)

    said = [
        f"not known {place}: {text}"
        for place, texts in zip(("before", "after"), unknown, strict=True)
        for text in texts
    ]
    return (
        lambda: [*difference_text.lines(found), *said],
        lambda: difference_text.document(found, unknown),
        page,
        lambda: difference_text.table(found),
    )


def _of_results(before: str, after: str) -> Forms:
    from pghot.lab.results_difference import read_result, results_difference
    from pghot.report import results_difference_text

    found = results_difference(read_result(Path(before)), read_result(Path(after)))

    def page(command: list[str]) -> str:
        from pghot.report.difference_page import results_page

        return results_page(found, command)

    return (
        lambda: results_difference_text.lines(found),
        lambda: results_difference_text.document(found),
        page,
        lambda: results_difference_text.table(found),
    )
