"""The recordings of real programs that are installed with the package, by name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from pghot.errors import unknown_name

PREFIX = "bundled:"
_SUFFIX = ".pghot"


def names() -> list[str]:
    """The bundled recordings, sorted.

    >>> "redis-zipf" in names()
    True
    """
    return sorted(path.stem for path in _directory().glob(f"*{_SUFFIX}"))


def path(name: str) -> Path:
    """Where it is; `name` may carry the prefix `bundled:`. Raises `UsageError` for an unknown name."""
    plain = name.removeprefix(PREFIX)
    if plain not in names():
        raise unknown_name("bundled recording", plain, names())
    return _directory() / f"{plain}{_SUFFIX}"


def _directory() -> Path:
    return Path(str(files("pghot").joinpath("data", "recordings")))
