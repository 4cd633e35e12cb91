"""Before the first test: pghot's files are read once, so that tests measure pghot and not the guest's cold disk."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture(scope="session", autouse=True)
def _warm_disk() -> None:
    subprocess.run([sys.executable, "-c", "import pghot.service.live, pghot.cli.main"], check=True)
