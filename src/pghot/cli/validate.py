"""`pghot validate`: published experiments rerun in the lab."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pghot.cli.progress import progress_on_stderr
from pghot.cli.shared_options import Json


def validate(
    name: Annotated[str, typer.Argument(help="validation or .toml file; all by default")] = "",
    json_: Json = False,
) -> None:
    """Rerun published experiments in the lab; exit 1 when an error exceeds its bar."""
    from pghot.cli.compiling import announcing
    from pghot.lab.validate import VALIDATIONS, run_validation
    from pghot.report.validation_table import render

    results = [
        run_validation(each, announcing(progress_on_stderr(each)))
        for each in ([name] if name else VALIDATIONS.names())
    ]
    if json_:
        found = [result.to_dict() for result in results]
        print(json.dumps(found[0] if name else {"schema": "pghot.validations/1", "validations": found}))
    else:
        print("\n".join(render(result) for result in results))
    if not all(result.ok for result in results):
        raise typer.Exit(1)
