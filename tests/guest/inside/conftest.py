"""Before the first test: pghot's files are read once, so that tests measure pghot and not the guest's cold disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import knobs


@pytest.fixture(scope="session", autouse=True)
def _warm_disk() -> None:
    subprocess.run([sys.executable, "-c", "import pghot.service.live, pghot.cli.main"], check=True)


@pytest.fixture(autouse=True)
def _own_knobs() -> Iterator[None]:
    """What a failed test left behind is not the next one's."""
    before = knobs()
    yield
    for path, value in knobs().items():
        if value != before.get(path):
            Path(path).write_text(before[path])
