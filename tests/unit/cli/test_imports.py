"""What a machine can do, and what a daemon does, is told without the heavy libraries: Numba costs most of all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from builders.recordings import random_trace
from pghot.recording.writer import write_recording

HEAVY = ("numba", "pyarrow", "prometheus_client")
EVERY_NEED = """
from pathlib import Path
from pghot.kernel.sysroot import SysRoot
from pghot.live.sources import LIVE_SOURCES
assert all(LIVE_SOURCES.make(name, SysRoot(Path("/"))).needs() for name in LIVE_SOURCES.names())
"""
NO_DAEMON = "from pghot.cli.main import run\nassert run(['status', '--socket', '/none']) == 2"
WATCH = "import pghot.cli.view, pghot.report.view.screen"
DOCTOR = "from pghot.cli.main import run\nassert run(['doctor']) == 0"


@pytest.mark.parametrize(
    "statement",
    ["import pghot; dir(pghot)", EVERY_NEED, DOCTOR, NO_DAEMON, WATCH],
    ids=["import", "needs", "doctor", "status", "watch"],
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    code = f"import sys\n{statement}\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("report", ["summary", "heatmap", "wss", "timeline", "explain"])
def test_a_report_in_the_terminal_loads_no_library_that_draws(report: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pghot"
    write_recording(path, random_trace())
    words = ["report", report, str(path), *(["[heap]"] if report == "explain" else [])]
    code = (
        f"import sys\nfrom pghot.cli.main import run\nassert run({words}) == 0\n"
        "print([name for name in ('matplotlib', 'plotly') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
