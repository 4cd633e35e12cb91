"""Says so when kernels will be compiled: a first run is slow once, and people should know why."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

REPLAY = ("pghot.machine", "touch", "serve", 10)  # every replay needs these kernels
ADVERSARY = ("pghot.lab.adversary", "steps", "play", 20)
Kernels = tuple[
    str, str, str, int
]  # package, file, function, seconds to compile (measured on the project's machine)


def compiled(kernels: Kernels = REPLAY) -> bool:
    """Whether Numba's cache of these kernels is as new as their source.

    Numba keeps it in NUMBA_CACHE_DIR, else beside the source, else in the user's cache directory.
    """
    package, file, function, _ = kernels
    spec = find_spec(package)
    assert spec is not None
    folder = Path(str(next(iter(spec.submodule_search_locations or []))))
    source = folder / f"{file}.py"
    places = [folder / "__pycache__"]
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        places = [Path(chosen)]
    elif not os.access(folder, os.W_OK):
        places = [Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "numba"]
    indices = [index for place in places for index in place.rglob(f"{file}.{function}-*.nbi")]
    return any(index.stat().st_mtime >= source.stat().st_mtime for index in indices)


def announce_compilation(kernels: Kernels = REPLAY) -> None:
    """One line on stderr, when it is going to happen."""
    if not compiled(kernels):
        print(
            f"compiling kernels, once after an install: about {kernels[3]} s ...", file=sys.stderr, flush=True
        )
