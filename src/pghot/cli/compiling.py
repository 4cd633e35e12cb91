"""Announces that kernels will be compiled: the first run is slow, and people should know why."""

from __future__ import annotations

import sys
from collections.abc import Callable

from pghot.numba_cache import Kernels, compiled

REPLAY: Kernels = ("pghot.sim.machine.touch", "serve", 10)  # every replay needs these kernels
CURVE: Kernels = ("pghot.lab.curve_pass", "add_served", 6)
REPORT: Kernels = ("pghot.recording.heat", "add_cells", 5)
ADVERSARY: Kernels = ("pghot.safety.adversary.steps", "play", 20)


def announce_compilation(kernels: Kernels = REPLAY) -> None:
    """Print a line on stderr if kernels will be compiled. Loads Numba: for verbs that are about to run kernels."""
    if not compiled(kernels):
        announce(kernels[2])


def announce(seconds: int) -> None:
    """Say that it begins, and how long it takes."""
    print(f"compiling kernels, once after an install: about {seconds} s ...", file=sys.stderr, flush=True)


def announcing(progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """`progress`, but the first report also announces compilation. Refused work reports and compiles nothing."""
    started = False

    def report(done: int, total: int) -> None:
        nonlocal started
        if not started:
            started = True
            announce_compilation()
        progress(done, total)

    return report
