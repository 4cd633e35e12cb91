"""Announces that kernels will be compiled: the first run is slow, and people should know why.

While they are compiled, stderr names them, one after another, as each takes up to some seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from pghot.cli.progress import PATIENCE_S
from pghot.numba_cache import REPLAY, Kernels, compiled

CURVE: Kernels = ("pghot.lab.curve_pass", "add_served", 6)
REPORT: Kernels = ("pghot.recording.heat", "add_cells", 5)
ADVERSARY: Kernels = ("pghot.safety.adversary.steps", "play", 20)


def announce_compilation(kernels: Kernels = REPLAY) -> None:
    """Print a line on stderr if kernels will be compiled. Loads Numba: for verbs that are about to run kernels."""
    if not compiled(kernels):
        announce(kernels[2])


def announce(seconds: int) -> None:
    """Say that it begins, and how long it takes; then name each kernel."""
    print(f"compiling kernels, once after an install: about {seconds} s ...", file=sys.stderr, flush=True)
    name_kernels()


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


def name_kernels() -> None:
    """From now on the kernel that is being compiled is named, by each process that is forked too: on a terminal in a
    line that is cleared after it, elsewhere in a line every two seconds."""
    from numba.core import event

    class Names(event.Listener):
        """A kernel waits for those that it calls, and for functions of Numba's own, which nobody knows by name."""

        def __init__(self) -> None:
            self._waiting: list[str] = []
            self._stderr = sys.stderr
            self._said = time.monotonic()

        def on_start(self, begun: Any) -> None:
            kernel = begun.data["dispatcher"].py_func
            inner = kernel.__module__.startswith("numba.") and self._waiting
            self._waiting.append(self._waiting[-1] if inner else kernel.__name__)
            self._say()

        def on_end(self, ended: Any) -> None:
            self._waiting.pop()
            self._say()

        def _say(self) -> None:
            text = f"compiling {self._waiting[-1]}" if self._waiting else ""
            if sys.stderr is not self._stderr:
                return  # it is another's than the one on which compilation was announced
            if self._stderr.isatty():
                print(f"\r{text}\x1b[K", end="", file=self._stderr, flush=True)
            elif text and time.monotonic() - self._said >= PATIENCE_S:
                self._said = time.monotonic()
                print(text, file=self._stderr, flush=True)

    event.register("numba:compile", Names())  # type: ignore[no-untyped-call]
