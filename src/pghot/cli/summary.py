"""`pghot report summary`: what a recording holds."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pghot.cli.shared_options import Json


def summary(
    recording: Annotated[str, typer.Argument(help="FILE or bundled:NAME")], json_: Json = False
) -> None:
    """Footprint, regions and hot set of a recording."""
    from pghot.recording.bundled import open_named
    from pghot.recording.summary import summarise
    from pghot.report.summary_text import render

    facts = summarise(open_named(recording))
    print(json.dumps(facts) if json_ else render(facts))
