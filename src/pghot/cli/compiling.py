"""Says so when kernels will be compiled: a first run is slow once, and people should know why."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

KERNEL_FILE = "touch"  # machine/touch.py: every replay needs its kernels


def compiled() -> bool:
    """Whether Numba's cache of the machine's kernels is as new as their source.

    Numba keeps it in NUMBA_CACHE_DIR, else beside the source, else in the user's cache directory.
    """
    spec = find_spec("pghot.machine")
    assert spec is not None
    folder = Path(str(next(iter(spec.submodule_search_locations or []))))
    source = folder / f"{KERNEL_FILE}.py"
    places = [folder / "__pycache__"]
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        places = [Path(chosen)]
    elif not os.access(folder, os.W_OK):
        places = [Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "numba"]
    indices = [index for place in places for index in place.rglob(f"{KERNEL_FILE}.serve-*.nbi")]
    return any(index.stat().st_mtime >= source.stat().st_mtime for index in indices)


def announce_compilation() -> None:
    """One line on stderr, when it is going to happen."""
    if not compiled():
        print("compiling kernels, once after an install: about 10 s ...", file=sys.stderr, flush=True)
