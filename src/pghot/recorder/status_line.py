"""What the recorder shows while it runs, on stderr: a live line, or off a terminal one now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pghot.units import PAGE_BYTES, format_duration, format_size

if TYPE_CHECKING:
    from rich.status import Status

_LIVE_PERIOD_S = 0.25
_LINE_PERIOD_S = 5.0


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals so far; `footprint` in pages.

    threads  how many carry the work: so much faster would the program be that runs by itself
    left_s   wall seconds until the program ends; None: not known
    """

    wall_s: float
    virtual_ns: int
    references: int
    slices: int
    footprint: int
    file_bytes: int
    threads: int = 1
    left_s: float | None = None

    @property
    def slowdown(self) -> float:
        """How much longer it takes than at the nominal speed of two instructions a nanosecond and thread."""
        return self.wall_s * 1e9 * self.threads / self.virtual_ns if self.virtual_ns else 0.0


def describe(totals: Totals) -> str:
    """One line, under 100 columns.

    >>> describe(Totals(20.0, 10**9, 10**8, 4000, 512, 1 << 20, threads=2, left_s=65))
    'recording: 1.00 s in 4000 slices, 40x slower, 2.0 MiB touched, 1.0 MiB file, 65 s left'
    """
    left = "" if totals.left_s is None else f", {totals.left_s:.0f} s left"
    return (
        f"recording: {format_duration(totals.virtual_ns)} in {totals.slices} slices, {totals.slowdown:.0f}x slower, "
        f"{format_size(totals.footprint * PAGE_BYTES)} touched, {format_size(totals.file_bytes)} file{left}"
    )


class Progress:
    """Shows the totals at its own pace."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = not quiet and sys.stderr.isatty()
        self._shown_at = time.monotonic()
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if self._live:
            from rich.console import Console

            self._status = Console(stderr=True).status("recording")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, line: str) -> None:
        """A line that stays, above the live one."""
        if self._status is not None:
            self._status.console.print(line, markup=False, highlight=False)
        elif not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def show(self, totals: Callable[[], Totals]) -> None:
        """Show them when it is time to."""
        now = time.monotonic()
        if self._quiet or now - self._shown_at < (_LIVE_PERIOD_S if self._live else _LINE_PERIOD_S):
            return
        self._shown_at = now
        if self._status is not None:
            self._status.update(describe(totals()))
        else:
            print(describe(totals()), file=sys.stderr, flush=True)
