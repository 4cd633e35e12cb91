"""pghot: find the hot pages of running programs, put them in fast memory, and prove whether that pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pghot.numba_cache import ensure_cache
from pghot.version import __version__

if TYPE_CHECKING:
    from pghot.api.compared import Comparison, Curves, compare
    from pghot.api.recordings import Recording, record
    from pghot.api.recordings import open_recording as open
    from pghot.errors import PghotError

__all__ = ["Comparison", "Curves", "PghotError", "Recording", "__version__", "compare", "open", "record"]

ensure_cache()

_LAZY = {
    "open": ("pghot.api.recordings", "open_recording"),
    "record": ("pghot.api.recordings", "record"),
    "Recording": ("pghot.api.recordings", "Recording"),
    "compare": ("pghot.api.compared", "compare"),
    "Comparison": ("pghot.api.compared", "Comparison"),
    "Curves": ("pghot.api.compared", "Curves"),
    "PghotError": ("pghot.errors", "PghotError"),
}


def __getattr__(name: str) -> Any:
    """Heavy modules load at first use, so that `import pghot` and `pghot --help` stay instant."""
    if name not in _LAZY:
        raise AttributeError(f"module 'pghot' has no attribute '{name}'")
    from importlib import import_module

    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    """What there is to use, also what is not loaded yet."""
    return sorted(__all__)
