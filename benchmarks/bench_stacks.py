"""What `pghot record --stacks` costs beside `pghot record`, in one run: CPU seconds of the program and of pghot.

Four small programs that each do one thing, and sqlite3 on the statements of bench_recorder, fewer of them. The bar is
on sqlite3: a program that calls a great deal, as real ones do.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench_recorder import cpu_s  # beside this file
from pghot.recorder.build import find_emulator, plugin_path
from pghot.recorder.record_settings import RecordSettings
from pghot.recorder.recorder import record

sys.path.insert(0, str(Path(__file__).parent / "recordings"))
import inputs

ROWS = 20_000
STATEMENTS = 5_000
RUNS = 5
BAR = 1.25

# Calls: nothing but. Memory: five passes over 256 MiB. Mappings: 50,000 blocks mapped, touched and unmapped. Idle: a
# hundred naps of 10 ms.
_SOURCE = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static volatile long kept;
static __attribute__((noinline)) long fib(long n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static void memory(void)
{
    size_t words = 32 << 20;
    volatile long *a = malloc(words * sizeof *a);
    for (int pass = 0; pass < 5; pass++)
        for (size_t i = 0; i < words; i++)
            a[i] += pass;
}
static void mappings(void)
{
    for (int i = 0; i < 50000; i++) {
        char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        p[i % 65536] = 1;
        munmap(p, 65536);
    }
}
int main(int argc, char **argv)
{
    switch (argc > 1 ? *argv[1] : 0) {
    case 'c': kept = fib(37); break;
    case 'm': memory(); break;
    case 'p': mappings(); break;
    case 'i': for (int i = 0; i < 100; i++) usleep(10000); break;
    }
    return 0;
}
"""


def measure(command: list[str], scratch: Path, bar: float | None) -> dict[str, Any]:
    """Medians of both ways, which take turns, as one result."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(RUNS):
        for stacks, spent in seconds.items():
            settings = RecordSettings(force=True, stacks=stacks)
            spent.append(cpu_s(lambda settings=settings: record(command, scratch / "it.pghot", settings)))  # type: ignore[misc]
    ratios = [stacks / plain for plain, stacks in zip(seconds[False], seconds[True], strict=True)]
    return {
        "value": round(median(ratios), 2),
        "bar": bar,
        "ok": bar is None or median(ratios) <= bar,
        "unit": "times pghot record",
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "beside": {"plain": round(median(seconds[False]), 2), "--stacks": round(median(seconds[True]), 2)},
    }


def run() -> dict[str, dict[str, Any]]:
    """`stacks_sqlite`, `stacks_calls`, ...: CPU seconds with `--stacks` over those without."""
    plugin_path(find_emulator())
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        program, script = scratch / "one_thing", scratch / "mix.sql"
        program.with_suffix(".c").write_text(_SOURCE)
        subprocess.run(["cc", "-O1", "-o", program, program.with_suffix(".c")], check=True)
        inputs.sqlite_script(script, ROWS, STATEMENTS)
        sqlite = ["sqlite3", ":memory:", f".output {scratch}/out", f".read {script}"]
        found = {"stacks_sqlite": measure(sqlite, scratch, BAR)}
        for what in ("calls", "memory", "p-mappings", "idle"):
            found[f"stacks_{what.removeprefix('p-')}"] = measure([str(program), what], scratch, None)
        return found


if __name__ == "__main__":
    for name, result in run().items():
        print(name, result)
