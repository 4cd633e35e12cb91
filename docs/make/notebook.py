"""Runs the cells of docs/notebook.ipynb in IPython, as Jupyter's kernel does, and writes the notebook with what they
give: `python docs/make/notebook.py [OUTPUT]`, over itself without OUTPUT.

IPython alone runs them: Jupyter's own client and kernel would bring twenty more packages, half of them compiled.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[1] / "notebook.ipynb"


def executed(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with the outputs of its cells. An error that no person can act on is raised."""
    os.environ["IPYTHONDIR"] = tempfile.mkdtemp()
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    shell.colors = "nocolor"
    cells = [cell | _outputs(shell, cell, number) for number, cell in enumerate(_code(notebook), 1)]
    done = iter(cells)
    return notebook | {
        "cells": [next(done) if cell["cell_type"] == "code" else cell for cell in notebook["cells"]]
    }


def _code(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _outputs(shell: Any, cell: dict[str, Any], number: int) -> dict[str, Any]:
    from IPython.core.displayhook import CapturingDisplayHook

    from pghot.errors import PghotError

    shown: list[dict[str, Any]] = []
    shell.display_trap.hook = CapturingDisplayHook(shell=shell, outputs=shown)
    with redirect_stdout(StringIO()) as printed:
        result = shell.run_cell("".join(cell["source"]))
    error, outputs = result.error_in_exec or result.error_before_exec, []
    if error is not None and not isinstance(error, PghotError):
        raise error
    if error is not None:
        outputs.append(
            {
                "output_type": "error",
                "ename": type(error).__name__,
                "evalue": str(error),
                "traceback": error._render_traceback_(),
            }
        )
    elif text := printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)})
    outputs += [
        {
            "output_type": "execute_result",
            "execution_count": number,
            "metadata": {},
            "data": {kind: _text(data) for kind, data in each["data"].items()},
        }
        for each in shown
    ]
    return {"execution_count": number, "outputs": outputs}


def _text(data: str | bytes) -> str:
    return base64.b64encode(data).decode() if isinstance(data, bytes) else data


def main() -> None:
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else NOTEBOOK
    done = executed(json.loads(NOTEBOOK.read_text("utf-8")))
    output.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
