"""Says so when kernels will be compiled: a first run is slow once, and people should know why."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

Kernels = tuple[str, str, int]  # module, function, seconds to compile (measured on the project's machine)
REPLAY: Kernels = ("pghot.sim.machine.touch", "serve", 10)  # every replay needs these kernels
ADVERSARY: Kernels = ("pghot.safety.adversary.steps", "play", 20)


def compiled(kernels: Kernels = REPLAY) -> bool:
    """Whether Numba will find these kernels in its cache: its own index of them is asked.

    An entry counts for one version of Numba, one processor and one text of the source; the times of files say none of
    that. The index has no public interface: with a Numba whose index looks otherwise, or that compiles nothing,
    this is True, and nothing is announced.
    """
    module, function, _ = kernels
    dispatcher = getattr(import_module(module), function)
    try:
        cache = dispatcher._cache
        wanted = cache._index_key(None, dispatcher.targetctx.codegen())
        return any(key[1:] == wanted[1:] for key in cache._cache_file._load_index())
    except (AttributeError, TypeError):
        return True


def announce_compilation(kernels: Kernels = REPLAY) -> None:
    """One line on stderr, when it is going to happen. Loads Numba: for verbs that are about to run kernels."""
    if not compiled(kernels):
        print(
            f"compiling kernels, once after an install: about {kernels[2]} s ...", file=sys.stderr, flush=True
        )


def announcing(progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Progress that announces first. Work that is refused never reports any, and compiles nothing."""
    started = False

    def report(done: int, total: int) -> None:
        nonlocal started
        if not started:
            started = True
            announce_compilation()
        progress(done, total)

    return report
