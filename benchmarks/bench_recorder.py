"""What `pghot record` costs beside bare QEMU, cachegrind and the program alone, on sqlite3 and xz, in one run.

The statements of the bundled recording sqlite-mix, fewer of them; and a part of the archive of xz-decompress.
Seconds are of CPU, of the program and of pghot itself: other load on the machine lengthens wall time only. The plugin
is compiled beforehand. cachegrind (package valgrind) simulates its default caches; it counts no pages and no slices.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from pghot.recorder.build import find_emulator, plugin_path
from pghot.recorder.record_settings import RecordSettings
from pghot.recorder.recorder import Outcome, record

sys.path.insert(0, str(Path(__file__).parent / "recordings"))
import inputs  # beside this file, where `make recordings` keeps it

ROWS = 100_000
STATEMENTS = 20_000
ARCHIVE_BYTES = 48 << 20
RUNS = 3
BAR_OF_BARE = 1.5


def cpu_s(run: Callable[[], object]) -> float:
    """CPU seconds of this process and of the children that ended during a call."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)

    def spent() -> float:
        return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, who))

    before = spent()
    run()
    return spent() - before


def alone(command: list[str]) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def measure(command: list[str], scratch: Path) -> dict[str, Any]:
    """Medians of the ways to run a command, alternating, as one result."""
    emulator = find_emulator()
    program = shutil.which(command[0]) or command[0]
    outcomes: list[Outcome] = []
    ways: dict[str, Callable[[], object]] = {
        "alone": lambda: alone(command),
        "bare QEMU": lambda: alone([emulator.path, "-cpu", "max", program, *command[1:]]),
        "pghot record": lambda: outcomes.append(
            record(command, scratch / "it.pghot", RecordSettings(force=True))
        ),
    }
    if shutil.which("valgrind"):
        cachegrind = ["valgrind", "--tool=cachegrind", "--cache-sim=yes", "--cachegrind-out-file=/dev/null"]
        ways["cachegrind"] = lambda: alone([*cachegrind, program, *command[1:]])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, way in ways.items():
            seconds[name].append(cpu_s(way))
    medians = {name: round(median(values), 2) for name, values in seconds.items()}
    ratios = [
        recorded / bare for recorded, bare in zip(seconds["pghot record"], seconds["bare QEMU"], strict=True)
    ]
    return {
        "value": round(median(ratios), 2),
        "bar": BAR_OF_BARE,
        "ok": median(ratios) <= BAR_OF_BARE,
        "unit": "times bare QEMU",
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "beside": medians,
        "million_references_s": round(outcomes[0].references / median(seconds["pghot record"]) / 1e6, 1),
    }


def run() -> dict[str, dict[str, Any]]:
    """`recorder_sqlite`, `recorder_xz`: CPU seconds of `pghot record` over those of bare QEMU."""
    plugin_path(find_emulator())
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        script = scratch / "mix.sql"
        inputs.sqlite_script(script, ROWS, STATEMENTS)
        inputs.xz_archive(scratch / "data.xz", ARCHIVE_BYTES)
        sqlite = ["sqlite3", ":memory:", f".output {scratch}/out", f".read {script}"]
        xz = ["xz", "-dkf", str(scratch / "data.xz")]
        return {"recorder_sqlite": measure(sqlite, scratch), "recorder_xz": measure(xz, scratch)}


if __name__ == "__main__":
    for name, result in run().items():
        print(name, result)
