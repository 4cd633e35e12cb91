"""Progress on stderr: one line that rewrites itself on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

PATIENCE_S = 2.0  # shorter work reports nothing
EVERY_S = 5.0


def progress_on_stderr(what: str, says_left: bool = False) -> Callable[[int, int], None]:
    """A callback (done, total) that reports the progress of `what`.

    says_left  also the time that is left, if the rest goes on as what is done: for work in equal parts
    """
    terminal = sys.stderr.isatty()
    start = time.monotonic()
    said = start + PATIENCE_S - EVERY_S

    def show(done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        left = (
            f", {_about((now - start) * (total - done) / done)} left"
            if says_left and 0 < done < total
            else ""
        )
        if terminal:
            end = "\n" if done >= total else ""
            clear = "\x1b[K" if says_left else ""
            print(
                f"\r{what} {100 * done // max(1, total):3d} %{left}{clear}",
                end=end,
                file=sys.stderr,
                flush=True,
            )
        elif now - said >= EVERY_S:
            said = now
            percent = f"{100 * done // max(1, total)} %"
            print(f"{what} {percent}, {now - start:.0f} s{left}", file=sys.stderr, flush=True)

    return show


def after_a_while(show: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """`show`, but only once the work has taken `PATIENCE_S`: for what is usually shorter."""
    start = time.monotonic()
    shown = False

    def patient(done: int, total: int) -> None:
        nonlocal shown
        if shown or (done < total and time.monotonic() - start >= PATIENCE_S):
            shown = True
            show(done, total)

    return patient


def _about(seconds: float) -> str:
    """
    >>> _about(42.3), _about(600), _about(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
