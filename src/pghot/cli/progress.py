"""Progress on stderr: one line that rewrites itself on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

PATIENCE_S = 2.0  # shorter work reports nothing
EVERY_S = 5.0


def progress_on_stderr(what: str) -> Callable[[int, int], None]:
    """A callback (done, total) that reports the progress of `what`."""
    terminal = sys.stderr.isatty()
    start = time.monotonic()
    said = start + PATIENCE_S - EVERY_S

    def show(done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if terminal:
            end = "\n" if done >= total else ""
            print(f"\r{what} {100 * done // max(1, total):3d} %", end=end, file=sys.stderr, flush=True)
        elif now - said >= EVERY_S:
            said = now
            print(f"{what} {100 * done // max(1, total)} %, {now - start:.0f} s", file=sys.stderr, flush=True)

    return show
