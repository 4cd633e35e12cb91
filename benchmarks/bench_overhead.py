"""What tracking costs the tracked program, and pghot itself, by source, in the guest. There is no bar.

All is emulated, with as many CPUs as the host lends: the slow-down of the program is a ratio within one run, `noise`
that of two runs of the program without pghot. Without a guest the benchmark says so and has no value.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "guest"))


def run() -> dict[str, Any]:
    import suites
    from vm import CACHE, MACHINES, CannotBootError, Guest

    shared = CACHE / "shared-overhead"
    inside = {**suites.INSIDE, "PGHOT_GUEST": str(shared)}
    guest = Guest(MACHINES["two_tiers"], [shared], inside, suites.COMPILED)
    try:
        suites.prepare(guest, shared)
        _, output = guest.run([sys.executable, str(HERE / "overhead_inside.py")], HERE.parent)
    except CannotBootError as lack:
        print(f"  overhead: no guest: {lack}", file=sys.stderr)
        return {}
    if not (shared / "overhead.jsonl").exists():
        raise RuntimeError(f"the guest brought nothing back:\n{output[-2000:]}")
    rows = map(json.loads, (shared / "overhead.jsonl").read_text().splitlines())
    return {
        f"overhead_{row.pop('source')}": {
            "value": row.pop("program_slowdown"),
            "bar": None,
            "ok": True,
            "unit": "times as slow as untracked (guest)",
            **row,
        }
        for row in rows
    }
