"""Announces that kernels will be compiled: the first run is slow, and people should know why."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

Kernels = tuple[str, str, int]  # module, function, seconds to compile (measured on the project's machine)
REPLAY: Kernels = ("pghot.sim.machine.touch", "serve", 10)  # every replay needs these kernels
CURVE: Kernels = ("pghot.lab.curve_pass", "add_served", 6)
ADVERSARY: Kernels = ("pghot.safety.adversary.steps", "play", 20)


def compiled(kernels: Kernels = REPLAY) -> bool:
    """Whether Numba has these kernels in its cache.

    This asks Numba's own index: an entry is valid for one version of Numba, one processor and one version of the
    source, which file times do not show. The index has no public interface. If it looks different, or if Numba compiles
    nothing, the answer is True, and nothing is announced.
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
    """Print a line on stderr if kernels will be compiled. Loads Numba: for verbs that are about to run kernels."""
    if not compiled(kernels):
        print(
            f"compiling kernels, once after an install: about {kernels[2]} s ...", file=sys.stderr, flush=True
        )


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
