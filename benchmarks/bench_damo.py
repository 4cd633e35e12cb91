"""Heat map and working set of a damo record of a million regions, beside damo itself and a bare inflate of the file.

DAMO=/path/to/damo python benchmarks/bench_damo.py

The file is made here: compressed JSON, indented as damo writes it; 4 targets with 250 snapshots of 1,000 regions each,
250 pages long on average, of which half were accessed. `damo` is that of PyPI (`pip install damo==3.4.3` into an
environment of its own); only `damo report --input` is run. Without it what needs it is left out.

Figures: reading the file, importing it and adding up all that the picture or table shows, in a process that has
compiled and imported before, against an inflate of the file in blocks. CPU seconds, alternating, medians. Commands: the
whole of `pghot report` and of `damo report`, start and drawing included, CPU seconds. Peaks are of these processes.

Like is compared with like as far as it goes. damo's heat map draws one target, from all of the file; ours has all four.
`damo report wss` leaves out the first 20 snapshots and gives percentiles of sizes; ours gives each window, and
what takes most of its accesses.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from pghot.recording import open_file
from pghot.recording.heat import Heat, measure_of
from pghot.recording.importers.damo_records import DamoRecords
from pghot.recording.importers.input import opened
from pghot.recording.reader import Recording
from pghot.recording.time_bins import at_most, windows
from pghot.recording.totals import PageTotals, read_once
from pghot.recording.working_set import WorkingSets

TARGETS, SNAPSHOTS, REGIONS = 4, 250, 1000
REPEATS = 5
BAR_INFLATE, BAR_DAMO, BAR_CONVERTED, BAR_PEAK_MB = 3.0, 10.0, 100.0, 400.0
VERBS = ("heatmap", "wss")
PGHOT = [sys.executable, "-c", "from pghot.cli.main import main; main()"]
_BLOCK_BYTES = 1 << 20


def run() -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "damon.data"
        write_damo(path)
        converted = path.with_name("converted.pghot")
        commands = {"convert": spent([*PGHOT, "convert", str(path), str(converted), "--force"])}
        results, found = {}, {}
        for verb in VERBS:
            for file in (path, converted):
                wanted = ["report", verb, str(file), "-o", str(path.with_name(f"{file.stem}.png")), "--force"]
                commands[f"{verb} {file.suffix}"] = spent([*PGHOT, *wanted])
            found[verb] = figures(verb, path)
            results |= against_inflate(verb, found[verb], commands[f"{verb} .data"])
        if damo := shutil.which(os.environ.get("DAMO", "damo")):
            for verb in VERBS:
                results |= against_damo(verb, damo, path, converted, found[verb], commands)
        return results


def write_damo(path: Path) -> None:
    """The record; the targets, whose snapshots are of the same times, follow each other."""
    pack, numbers = zlib.compressobj(), random.Random(1)
    with open(path, "wb") as file:

        def write(text: str) -> None:
            file.write(pack.compress(text.encode()))

        write("[\n")
        for target in range(TARGETS):
            write('    {\n        "kdamond_idx": 0,\n        "context_idx": 0,\n        "intervals": null,\n')
            write(
                f'        "scheme_idx": null,\n        "target_id": {target},\n        "scheme_filters": [],\n'
            )
            write('        "snapshots": [\n')
            for at in range(SNAPSHOTS):
                text = json.dumps(_snapshot(at, numbers), indent=4).replace("\n", "\n            ")
                write(f"            {text}{',' if at < SNAPSHOTS - 1 else ''}\n")
            write(f"        ]\n    }}{',' if target < TARGETS - 1 else ''}\n")
        write("]\n")
        file.write(pack.flush())


def _snapshot(at: int, numbers: random.Random) -> dict[str, Any]:
    regions, start = [], 1 << 46
    for _ in range(REGIONS):
        end = start + numbers.randint(1, 500) * 4096
        regions.append(
            {
                "start": f"{start:,}",
                "end": f"{end:,}",
                "nr_accesses": {"samples": numbers.choice((0, 0, 0, 1, 3, 20)), "percent": None},
                "age": {"usec": None, "aggr_intervals": numbers.randint(0, 50)},
            }
        )
        start = end
    first_ns, step_ns = 10**12, 10**8
    return {
        "start_time": str(first_ns + at * step_ns),
        "end_time": str(first_ns + (at + 1) * step_ns),
        "regions": regions,
        "total_bytes": None,
    }


def against_inflate(verb: str, found: dict[str, float], command: dict[str, float]) -> dict[str, Any]:
    inflates = found["figures_s"] / found["inflate_s"]
    peak_mb = max(found["peak_mb"], command["peak_mb"])
    results = {
        f"{verb} of a damo record / bare inflate": _at_most(inflates, BAR_INFLATE, "x", found),
        f"{verb} of a damo record, peak": _at_most(peak_mb, BAR_PEAK_MB, "MB", command),
    }
    if verb == VERBS[0]:
        regions = found["regions_s"] / found["inflate_s"]
        results["regions out of damo's JSON / bare inflate"] = _at_most(regions, BAR_INFLATE, "x", found)
    return results


def against_damo(
    verb: str,
    damo: str,
    path: Path,
    converted: Path,
    before: dict[str, float],
    commands: dict[str, dict[str, float]],
) -> dict[str, Any]:
    output = ["--output", str(path.with_name("damo.png"))] if verb == "heatmap" else []
    theirs = spent([damo, "report", verb, "--input", str(path), *output])
    ours, after = commands[f"{verb} .data"], commands[f"{verb} .pghot"]
    found = figures(verb, converted)
    facts = {
        "damo_s": theirs["cpu_s"],
        "damo_peak_mb": theirs["peak_mb"],
        "convert_s": commands["convert"]["cpu_s"],
    }
    whole = facts | {"command_s": after["cpu_s"]}
    return {
        f"damo report {verb} / the figures": _at_least(
            theirs["cpu_s"] / before["figures_s"], BAR_DAMO, facts | {"figures_s": before["figures_s"]}
        ),
        f"damo report {verb} / pghot report {verb}": _at_least(
            theirs["cpu_s"] / ours["cpu_s"], BAR_DAMO, facts | {"command_s": ours["cpu_s"]}
        ),
        f"damo report {verb} / the figures after one convert": _at_least(
            theirs["cpu_s"] / found["figures_s"], BAR_CONVERTED, facts | {"figures_s": found["figures_s"]}
        ),
        f"damo report {verb} / pghot report {verb} after one convert": {
            "value": round(theirs["cpu_s"] / after["cpu_s"], 1),
            "bar": None,
            "ok": True,
            "unit": "x as fast",
            **whole,
        },
    }


def _at_most(value: float, bar: float, unit: str, facts: dict[str, float]) -> dict[str, Any]:
    return {"value": round(value, 2), "bar": bar, "ok": value <= bar, "unit": unit, **facts}


def _at_least(value: float, bar: float, facts: dict[str, float]) -> dict[str, Any]:
    return {"value": round(value, 1), "bar": bar, "ok": value >= bar, "unit": "x as fast", **facts}


def spent(command: list[str]) -> dict[str, float]:
    """CPU seconds and peak memory of a command, which must not fail. Run twice: the first may compile."""
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return {
        "cpu_s": round(used.ru_utime + used.ru_stime, 3),
        "peak_mb": round(used.ru_maxrss * 1024 / 1e6),
    }


def figures(verb: str, path: Path) -> dict[str, float]:
    """`inside`, in a process of its own."""
    ended = subprocess.run(
        [sys.executable, __file__, verb, str(path)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def inside(verb: str, path: Path) -> dict[str, float]:
    """Medians of CPU seconds, and the peak memory of this process."""
    work = {"figures_s": lambda: figures_of(verb, path)}
    if path.suffix == ".data":
        work |= {"inflate_s": lambda: inflate(path), "regions_s": lambda: take_regions(path)}
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for repeat in range(REPEATS + 1):  # the first compiles
        for name, each in work.items():
            took = cpu_s(each)
            if repeat:
                seconds[name].append(took)
    with open("/proc/self/status") as status:
        peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return {name: round(median(all_), 3) for name, all_ in seconds.items()} | {
        "peak_mb": round(peak_kb * 1024 / 1e6)
    }


def figures_of(verb: str, path: Path) -> object:
    open_file._kept.clear()  # as in a new process
    recording = open_file.open_file(str(path))
    return heat_map(recording) if verb == "heatmap" else working_set(recording)


def heat_map(recording: Recording) -> object:
    """512 x 512, as `pghot report heatmap -o x.png`."""
    heat = Heat(recording, measure_of(recording), at_most(recording, 512))
    pages = PageTotals(recording.pages)
    read_once(recording, pages, heat)
    return heat.map(pages, 512)


def working_set(recording: Recording) -> object:
    sets = WorkingSets(recording, windows(recording, None))
    read_once(recording, sets)
    return sets.result()


def take_regions(path: Path) -> int:
    with opened(path) as source:
        return DamoRecords(source).regions().shape[1]


def inflate(path: Path) -> int:
    """Bytes of the text, unpacked block by block."""
    unpack, total = zlib.decompressobj(), 0
    with open(path, "rb") as file:
        while packed := unpack.unconsumed_tail or file.read(_BLOCK_BYTES >> 2):
            total += len(unpack.decompress(packed, _BLOCK_BYTES))
    return total


def cpu_s(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    print(json.dumps(inside(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) > 1 else run(), indent=2))
