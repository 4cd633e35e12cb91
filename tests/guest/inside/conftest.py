"""Before the first test pghot is imported once; after each test the kernel's knobs are what they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import start_server
from helpers import FORK_SERVER, knobs


@pytest.fixture(scope="session", autouse=True)
def _fork_server() -> Iterator[None]:
    server = start_server(FORK_SERVER)
    yield
    server.kill()
    server.wait()


@pytest.fixture(autouse=True)
def _own_knobs() -> Iterator[None]:
    """What a failed test left behind is not the next one's."""
    before = knobs()
    yield
    for path, value in knobs().items():
        if value != before.get(path):
            Path(path).write_text(before[path])
