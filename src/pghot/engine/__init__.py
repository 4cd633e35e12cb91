"""The hotness engine: which pages are worth promoting, from accesses alone."""

from __future__ import annotations

from collections.abc import Iterable

from pghot.engine.store import HotnessStore
from pghot.errors import UsageError
from pghot.plugins import Registry

# Called with the `EngineSettings`.
STORES: Registry[HotnessStore] = Registry(
    "store", ("pghot.engine",), "pghot.stores", declares=("name", "summary", "own_settings"), given=1
)


def check_heeded(store: str, given: Iterable[str]) -> None:
    """Raise `UsageError` for a setting that only other stores heed."""
    heeded = STORES.get(store).own_settings
    for setting in given:
        others = [name for name, each in STORES.usable().items() if setting in each.own_settings]
        if others and setting not in heeded:
            raise UsageError(
                f"the '{store}' store has no {setting}",
                f"leave it out; it is a setting of the {' and '.join(others)} store",
            )
