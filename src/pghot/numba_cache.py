"""Where Numba may keep compiled kernels when this package's directory cannot be written, and whether it has kept some.

Numba then uses NUMBA_CACHE_DIR or the user's cache, and runs what it finds there. If others may have written to that
directory, or it cannot be written at all (a read-only install, run by a user without a home), the process gets a
directory of its own and compiles anew each time. The package's own directory is as trustworthy as the package.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from pghot.trusted import distrust_entry, fresh_directory, instead_of_cache, private_directory

_PREFIX = "pghot-numba-"
Kernels = tuple[str, str, int]  # module, function, seconds to compile (measured on the project's machine)
REPLAY: Kernels = ("pghot.sim.machine.touch", "serve", 10)  # every replay needs these kernels


def ensure_cache() -> None:
    """Set NUMBA_CACHE_DIR for this process unless Numba keeps its kernels beside this package's modules."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given or not _writable(Path(__file__).parent / "__pycache__"):
        os.environ["NUMBA_CACHE_DIR"] = str(_directory(given))


def compiled(kernels: Kernels) -> bool:
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


def _directory(given: str | None) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("HOME") and os.path.expanduser("~/.cache"))
    if not given and not (home and _writable(Path(home))):
        return fresh_directory(_PREFIX)
    path = Path(given or f"{home}/numba").absolute()
    try:
        reason = private_directory(path) or _distrust_parts(path)
    except OSError as error:
        reason = error.strerror or str(error)
    return instead_of_cache(path, reason, _PREFIX) if reason else path


def _distrust_parts(path: Path) -> str:
    """The first reason to distrust one of the cache's directories, or a file in them; empty without one."""
    parts = (entry for directory in path.iterdir() for entry in (directory, *_files(directory)))
    return next((reason for each in parts if (reason := distrust_entry(str(each), each.lstat()))), "")


def _files(path: Path) -> list[Path]:
    return list(path.iterdir()) if path.is_dir() and not path.is_symlink() else []


def _writable(path: Path) -> bool:
    """Whether a directory can be written, or created if it does not exist."""
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return os.access(path, os.W_OK)
