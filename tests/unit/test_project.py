"""Habits of the project that a reader relies on."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "src" / "pghot" / "data"
HEAVY = ("numpy", "numba", "pyarrow", "pydantic", "plotly", "pandas")


def loaded_by(statement: str) -> str:
    """Which heavy packages a fresh interpreter has after `statement`."""
    code = f"import sys\n{statement}\nprint([name for name in {HEAVY} if name in sys.modules])"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "statement",
    ["import pghot", "from pghot.cli.main import run\nassert run(['--help']) == 0"],
    ids=["import", "help"],
)
def test_the_first_step_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement) == "[]"


def test_every_constraint_is_a_name_and_a_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_ci_calls_the_test_command_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec make test"]


@pytest.mark.parametrize("path", sorted(DATA.rglob("*.toml")), ids=lambda path: path.name)
def test_shipped_documents_are_toml(path: Path) -> None:
    assert tomllib.loads(path.read_text())


def test_what_the_package_carries_is_declared_as_its_data() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    package = ROOT / "src" / "pghot"
    files = [p for p in package.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".nbi", ".nbc")]
    assert files
    assert [p.name for p in files if not any(p.match(pattern) for pattern in declared)] == []


# Those of several threads that all touch the same memory.
LARGE_RECORDINGS = ("bfs-kron", "shared-rank")


def test_bundled_recordings_are_small_and_of_large_programs() -> None:
    from pghot.recording import bundled
    from pghot.recording.reader import open_recording

    names = bundled.names()
    assert len(names) >= 5
    assert max(open_recording(bundled.path(name)).info.threads for name in names) >= 4
    for name in names:
        recording = open_recording(bundled.path(name))
        assert bundled.path(name).stat().st_size <= (8 << 20 if name in LARGE_RECORDINGS else 4 << 20)
        footprint = recording.footprint_pages * recording.info.page_bytes
        assert footprint >= 256 << 20
        assert recording.slices >= 200
        assert recording.info.cache_bytes == (256 << 10, 1 << 20, 4 << 20)
        assert recording.info.tasks
        assert recording.complete
        assert recording.info.command
        assert not any(word.startswith("/") for word in recording.info.command), (
            "a path of the machine that made it"
        )
        for file in (bundled.path(name), bundled.path(name).parents[1] / "page_samples" / f"{name}.pghot"):
            info = open_recording(file).info
            places = [*info.command, *(process.name for process in info.processes)]
            assert not any(place.startswith("/") and not place.startswith("/usr/") for place in places)
