"""The notebook of the documentation: its cells run, and give what it shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[3] / "docs"
IMAGE = "image/png"  # its bytes depend on the fonts of the machine


def shown(notebook: dict[str, Any]) -> list[Any]:
    """(source, outputs) of each cell; of pictures only that there is one."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if picture := output.get("data", {}).get(IMAGE):
                assert len(picture) * 3 / 4 < 100_000, "a picture of the documentation has 100 KB at most"
                output["data"][IMAGE] = "a picture"
    return [(cell["source"], cell.get("outputs")) for cell in notebook["cells"]]


@pytest.mark.heavy
def test_the_notebook_gives_what_it_shows(tmp_path: Path) -> None:
    output = tmp_path / "executed.ipynb"
    done = subprocess.run(
        [sys.executable, DOCS / "make" / "notebook.py", output], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    executed, committed = (json.loads(path.read_text("utf-8")) for path in (output, DOCS / "notebook.ipynb"))
    assert (
        sum(IMAGE in out.get("data", {}) for cell in executed["cells"] for out in cell.get("outputs", ()))
        == 2
    )
    assert shown(executed) == shown(committed), "make it anew: python docs/make/notebook.py"


@pytest.mark.heavy
def test_the_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "python.md", "exec"), {})
    assert "pghot-precise/abit" in capsys.readouterr().out
    assert (tmp_path / "gains.svg").exists()
