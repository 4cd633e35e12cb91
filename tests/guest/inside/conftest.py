"""After each test the kernel's knobs are what they were.

Nothing is compiled in here, where it takes minutes and the memory that the tests judge: tests/guest/warm.py does it
outside. What it forgot is a row of the table "compiled inside".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import SHARED, busy_seconds, knobs
from helpers import report as add_row


@pytest.fixture(autouse=True)
def _own_knobs() -> Iterator[None]:
    """What a failed test left behind is not the next one's."""
    before = knobs()
    yield
    for path, value in knobs().items():
        if value != before.get(path):
            Path(path).write_text(before[path])


def pytest_sessionfinish(session: pytest.Session) -> None:
    server = session.config.pluginmanager.get_plugin("fork server")
    for name in sorted(server.compiled() if server else ()):
        add_row("compiled inside", {"kernel": name})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell the outside at once: a guest that dies later keeps what it has found.

    cpu_s_so_far: what the guest's CPUs have worked since the boot. The emulator takes the same of the machine's.
    """
    if report.when != "call" and report.outcome == "passed":
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    text = "\n".join([str(reason), *(f"--- {title}\n{words}" for title, words in report.sections)])
    row = {"test": report.nodeid, "outcome": report.outcome, "text": text, "seconds": report.duration}
    row["cpu_s_so_far"] = busy_seconds()
    with open(SHARED / "results.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")
