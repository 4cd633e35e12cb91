"""Where Numba may keep compiled kernels when neither this package's directory nor the user's cache can be written.

Numba refuses to import a cached kernel then (a read-only install, run by a user without a home). Such a process gets
a directory of its own and compiles anew each time.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def ensure_cache() -> None:
    """Set NUMBA_CACHE_DIR for this process when nothing else can be written."""
    if "NUMBA_CACHE_DIR" in os.environ or _writable(Path(__file__).parent / "__pycache__"):
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME")
    if home and _writable(Path(home)):
        return
    place = tempfile.mkdtemp(prefix="pghot-numba-")
    os.environ["NUMBA_CACHE_DIR"] = place
    atexit.register(shutil.rmtree, place, ignore_errors=True)


def _writable(path: Path) -> bool:
    """Whether a directory can be written, or made where it is not."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return os.access(path, os.W_OK)
