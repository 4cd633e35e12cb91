"""pghot: find the hot pages of running programs, put them in fast memory, and prove whether that pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pghot.numba_cache import ensure_cache
from pghot.version import __version__

if TYPE_CHECKING:
    from pghot.lab.compare import Comparison, compare
    from pghot.recording.reader import Recording
    from pghot.recording.reader import open_recording as open

__all__ = ["Comparison", "Recording", "__version__", "compare", "open"]

ensure_cache()

_LAZY = {
    "open": ("pghot.recording.reader", "open_recording"),
    "Recording": ("pghot.recording.reader", "Recording"),
    "compare": ("pghot.lab.compare", "compare"),
    "Comparison": ("pghot.lab.compare", "Comparison"),
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
