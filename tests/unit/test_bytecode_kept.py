"""tests/conftest.py has Python keep what it compiles, in the tests and in what they start, whatever the environment
says: each `pghot` that a test starts would compile all modules again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
ONE = """
import subprocess, sys

def test_one():
    subprocess.run([sys.executable, "-c", "import beside"], check=True)
"""


def test_what_a_worker_and_a_process_that_it_starts_compile_is_kept(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(ONE)
    (tmp_path / "beside.py").write_text("")
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-n", "1", str(tmp_path)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("PYTHONPYCACHEPREFIX", None)  # where it would be kept instead
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = {path.name.split(".")[0] for path in tmp_path.glob("__pycache__/*.pyc")}
    assert kept == {"test_it", "beside"}
