"""What the recorder shows while it runs, on stderr: a live line, or off a terminal one now and then."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pghot.units import PAGE_BYTES, format_duration, format_size

if TYPE_CHECKING:
    from rich.status import Status

_LIVE_PERIOD_S = 0.25
_LINE_PERIOD_S = 5.0


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals so far; `footprint` in pages."""

    wall_s: float
    virtual_ns: int
    references: int
    slices: int
    footprint: int
    file_bytes: int


def describe(totals: Totals) -> str:
    """One line, under 80 columns.

    >>> describe(Totals(2.0, 10**9, 10**8, 1000, 512, 1 << 20))
    'recording: 1.00 s in 1000 slices, 50 M refs/s, 2.0 MiB touched, 1.0 MiB file'
    """
    rate = totals.references / totals.wall_s / 1e6 if totals.wall_s else 0.0
    return (
        f"recording: {format_duration(totals.virtual_ns)} in {totals.slices} slices, {rate:.0f} M refs/s, "
        f"{format_size(totals.footprint * PAGE_BYTES)} touched, {format_size(totals.file_bytes)} file"
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

    def show(self, totals: Totals) -> None:
        now = time.monotonic()
        if self._quiet or now - self._shown_at < (_LIVE_PERIOD_S if self._live else _LINE_PERIOD_S):
            return
        self._shown_at = now
        if self._status is not None:
            self._status.update(describe(totals))
        else:
            print(describe(totals), file=sys.stderr, flush=True)
