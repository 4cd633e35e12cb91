"""`make bench`: runs every benchmark beside this file and writes benchmarks/results/latest.json.

A benchmark is a module `bench_*.py` with `run() -> {name: {"value", "bar", "ok", "unit", ...}}`. Exit status 1 when
a bar is missed; `bar` is None, and `ok` true, for what is only reported.
`python benchmarks/run.py engine replay` runs some only, and writes nothing.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGES = ("numpy", "numba", "pyarrow", "libcachesim")


def machine() -> dict[str, Any]:
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "cpu": models[0].split(":")[1].strip() if models else platform.processor(),
        "cpus": len(models),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "date": time.strftime("%Y-%m-%d"),
    }


def line(key: str, result: dict[str, Any]) -> str:
    """A result in words, with what it was measured beside (`beside`: seconds of each)."""
    bar = "no bar" if result["bar"] is None else f"bar {result['bar']:.4g}"
    mark = "       " if result["bar"] is None else "ok     " if result["ok"] else "MISSED "
    beside = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in result.get("beside", {}).items())
    return f"{mark}{key}: {result['value']:.4g} ({bar}) {result['unit']}{beside and f': {beside}'}"


def main(chosen: list[str]) -> int:
    names = sorted(path.stem for path in HERE.glob("bench_*.py"))
    if unknown := [name for name in chosen if f"bench_{name}" not in names]:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    results: dict[str, Any] = {}
    for name in names:
        if chosen and name.removeprefix("bench_") not in chosen:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        for key, result in import_module(name).run().items():
            results[key] = result
            print(line(key, result), flush=True)
    if not chosen:
        out = HERE / "results" / "latest.json"
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps(results | {"machine": machine()}, indent=2) + "\n")
        print(f"wrote {out.relative_to(HERE.parent)}", file=sys.stderr)
    return 0 if all(result["ok"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
