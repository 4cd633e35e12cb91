"""Runs the commands of the tutorials and the gallery and writes what they print below them, and the pictures that they
make into docs/images: `python docs/make/transcripts.py`.

A command is a line `$ ...` of a block marked as console; what a shell prints of it on stdout follows.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parents[1]
PAGES = [*sorted((DOCS / "tutorials").glob("*.md")), DOCS / "gallery.md"]
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def written_anew(text: str, place: Path) -> str:
    """The page with what its commands print now. They run one after the other in `place`."""
    return _BLOCK.sub(lambda block: f"```console\n{_ran(block[1], place)}```", text)


def pictures_of(text: str) -> list[str]:
    """The names of the pictures that the page shows."""
    return re.findall(r"\]\((?:\.\./)?images/([^)]+)\)", text)


def _ran(block: str, place: Path) -> str:
    """A block's commands, each with its output. Raises `CalledProcessError` for one that fails."""
    where = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": where, "COLUMNS": "100", "NO_COLOR": "1"}
    parts = []
    for line in block.splitlines():
        if line.startswith("$ "):
            shell = ["bash", "-o", "pipefail", "-c", line.removeprefix("$ ")]
            done = subprocess.run(
                shell,
                cwd=place,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            parts.append(f"{line}\n{done.stdout}")
    return "".join(parts)


def main() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        with tempfile.TemporaryDirectory() as place:
            page.write_text(written_anew(text, Path(place)), "utf-8")
            for name in pictures_of(text):
                if (made := Path(place, name)).exists():
                    shutil.copy(made, DOCS / "images" / name)


if __name__ == "__main__":
    main()
