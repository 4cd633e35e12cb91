"""The registry of hotness stores by name. A store from outside registers an entry point in "pghot.stores"."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from pghot.engine.settings import EngineSettings
from pghot.engine.store import HotnessStore
from pghot.errors import unknown_name

StoreFactory = Callable[[EngineSettings], HotnessStore]
ENTRY_POINTS = "pghot.stores"

# Module and class, imported when needed: naming the stores must stay cheap.
STORES: dict[str, tuple[str, str]] = {
    "default": ("pghot.engine.default", "DefaultStore"),
    "precise": ("pghot.engine.precise", "PreciseStore"),
    "hashed": ("pghot.engine.hashed", "HashedStore"),
}


def store_names() -> list[str]:
    """Built-in stores first, then those that installed packages registered."""
    outside = {point.name for point in entry_points(group=ENTRY_POINTS)}
    return [*STORES, *sorted(outside - set(STORES))]


def store_class(name: str) -> StoreFactory:
    """What makes a store. Raises `UsageError` for an unknown name."""
    if name in STORES:
        module, attribute = STORES[name]
        return cast(StoreFactory, getattr(import_module(module), attribute))
    for point in entry_points(group=ENTRY_POINTS, name=name):
        return cast(StoreFactory, point.load())
    raise unknown_name("store", name, store_names())


def make_store(settings: EngineSettings) -> HotnessStore:
    """The store that the settings name. Raises `UsageError` for an unknown name."""
    return store_class(settings.store)(settings)
