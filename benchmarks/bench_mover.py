"""Pages/s of pghot's mover beside a bare move_pages loop of the same batch size, in one run of the guest,
pair by pair: the median of their shares.

The mover checks that the process is still itself, writes origins, keeps to the free floor and counts; a bare loop does
not. Both run under emulation, which slows Python more than it slows the kernel's copying: on hardware the share is
higher. Without a guest the benchmark says so and has no value.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "guest"))
BAR = 0.9


def run() -> dict[str, Any]:
    from suites import ENVIRONMENT
    from vm import CACHE, CannotBootError, Guest

    out = CACHE / "mover.json"
    out.unlink(missing_ok=True)
    out.with_suffix(".pghot-journal").unlink(missing_ok=True)
    guest = Guest(writable=[CACHE], environment=ENVIRONMENT)
    try:
        _, output = guest.run([sys.executable, str(HERE / "mover_inside.py"), str(out)], HERE.parent)
    except CannotBootError as lack:
        print(f"  mover: no guest: {lack}", file=sys.stderr)
        return {}
    if not out.exists():
        raise RuntimeError(f"the guest brought nothing back:\n{output[-2000:]}")
    rates = json.loads(out.read_text())
    share = rates["share"]
    return {
        "mover_share_of_bare_loop": {
            "value": share,
            "bar": BAR,
            "ok": share >= BAR,
            "unit": "of a bare move_pages loop (guest)",
            "pages_per_s": rates["ours"],
            "bare_pages_per_s": rates["bare"],
            "spread": [rates["shares"][0], rates["shares"][-1]],
        }
    }
