"""tests/conftest.py shows a failure when it happens, not only at the end of a run of half an hour."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ONE = """
def test_one():
    assert 23 == 42
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_failure_is_shown_whole_before_the_end(workers: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(ONE)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "conftest", "-n", workers, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    at_once, _, at_the_end = done.stdout.partition("= FAILURES =")
    assert done.returncode == 1, done.stdout + done.stderr
    for said in (at_once, at_the_end):
        assert re.search(r"^>\s+assert 23 == 42$", said, re.MULTILINE), "the line"
        assert re.search(r"^E\s+assert 23 == 42$", said, re.MULTILINE), "what it compared"
        assert "test_it.py" in said
