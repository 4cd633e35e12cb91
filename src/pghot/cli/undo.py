"""`pghot undo`: put back what a run changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pghot.cli.shared_options import Json


def undo(
    journal: Annotated[str, typer.Argument(metavar="FILE.pghot-journal", help="what `pghot run` wrote")],
    if_any: Annotated[bool, typer.Option("--if-any", help="a missing file is not an error")] = False,
    json_: Json = False,
) -> None:
    """Put pages back to the nodes they came from and kernel knobs back to their values."""
    from pghot.cli.progress import progress_on_stderr
    from pghot.kernel.sysroot import SysRoot
    from pghot.live.journal_file import held_journal
    from pghot.live.owner import owned
    from pghot.live.undo import refuse_while_running
    from pghot.live.undo import undo as put_back
    from pghot.report.live_text import render_undo

    if if_any and not Path(journal).exists():
        return
    root = SysRoot()
    with held_journal(Path(journal)) as found:
        refuse_while_running(found, root)  # which says more than that somebody owns the machine
        # Another pghot may have armed the same knobs since.
        with owned(root, bool(found.knobs)):
            result = put_back(found, root, progress_on_stderr("moving pages back"))
    print(json.dumps(result.facts()) if json_ else render_undo(result.facts()))
    if not result.complete:
        raise typer.Exit(1)
