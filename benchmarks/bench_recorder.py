"""How fast `pghot record` takes references in, on an sqlite3 workload, and what that costs the program.

The same statements as in the bundled recording sqlite-mix, fewer of them. Wall seconds from the start of
the program to the finished file; the plugin is compiled beforehand.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from pghot.recorder.build import find_emulator, plugin_path
from pghot.recorder.record_settings import RecordSettings
from pghot.recorder.recorder import record

sys.path.insert(0, str(Path(__file__).parent / "recordings"))
import inputs  # beside this file, where `make recordings` keeps it

ROWS = 100_000
STATEMENTS = 20_000
RUNS = 3
BAR_REFERENCES_S = 50e6


def native_s(command: list[str]) -> float:
    """Wall seconds of the program by itself."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def run() -> dict[str, dict[str, Any]]:
    """`recorder_sqlite`: recorded references per second, in millions, at default settings."""
    plugin_path(find_emulator())
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "mix.sql"
        inputs.sqlite_script(script, ROWS, STATEMENTS)
        command = ["sqlite3", ":memory:", f".output {scratch}/out", f".read {script}"]
        alone = [native_s(command) for _ in range(RUNS)]
        outcomes = [
            record(command, Path(scratch) / "it.pghot", RecordSettings(force=True)) for _ in range(RUNS)
        ]
    rates = [outcome.references / outcome.wall_s for outcome in outcomes]
    return {
        "recorder_sqlite": {
            "value": round(median(rates) / 1e6, 1),
            "bar": BAR_REFERENCES_S / 1e6,
            "ok": median(rates) >= BAR_REFERENCES_S,
            "unit": "million references/s",
            "spread": [round(min(rates) / 1e6, 1), round(max(rates) / 1e6, 1)],
            "references": outcomes[0].references,
            "slower_than_native": round(median(o.wall_s for o in outcomes) / median(alone), 1),
        }
    }


if __name__ == "__main__":
    print(run())
