"""Before the first test pghot is imported once; after each test the kernel's knobs are what they were.

Nothing is compiled in here, where it takes minutes and the memory that the tests judge: tests/guest/warm.py does it
outside. What it forgot is a row of the table "compiled inside".
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import await_server, start_server
from helpers import FORK_SERVER, SHARED, knobs
from helpers import report as add_row


def kernels() -> set[str]:
    """Names of the compiled kernels in Numba's cache."""
    cache = Path(os.environ.get("NUMBA_CACHE_DIR", "/nowhere"))
    return {path.name.split("-")[0] for path in cache.rglob("*.nbc")}


WARM = kernels()
SERVER = pytest.StashKey[subprocess.Popen[str]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """It imports pghot on one CPU while the tests are collected on the other."""
    if os.environ["PGHOT_GUEST"] != "collect":
        session.config.stash[SERVER] = start_server(FORK_SERVER)


@pytest.fixture(scope="session", autouse=True)
def _fork_server(request: pytest.FixtureRequest) -> Iterator[None]:
    server = request.config.stash[SERVER]
    await_server(server)
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


def pytest_sessionfinish() -> None:
    for name in sorted(kernels() - WARM):
        add_row("compiled inside", {"kernel": name})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell the outside at once: a guest that dies later keeps what it has found."""
    if report.when != "call" and report.outcome == "passed":
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    text = "\n".join([str(reason), *(f"--- {title}\n{words}" for title, words in report.sections)])
    row = {"test": report.nodeid, "outcome": report.outcome, "text": text, "seconds": report.duration}
    with open(SHARED / "results.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")
