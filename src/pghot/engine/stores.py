"""The registry of hotness stores by name. A store from outside registers an entry point in "pghot.stores"."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from pghot.engine.settings import EngineSettings
from pghot.engine.store import HotnessStore
from pghot.errors import unknown_name

ENTRY_POINTS = "pghot.stores"


def _default(settings: EngineSettings) -> HotnessStore:
    from pghot.engine.default import DefaultStore

    return DefaultStore(settings)


def _precise(settings: EngineSettings) -> HotnessStore:
    from pghot.engine.precise import PreciseStore

    return PreciseStore(settings)


def _hashed(settings: EngineSettings) -> HotnessStore:
    from pghot.engine.hashed import HashedStore

    return HashedStore(settings)


STORES: dict[str, Callable[[EngineSettings], HotnessStore]] = {
    "default": _default,
    "precise": _precise,
    "hashed": _hashed,
}


def make_store(settings: EngineSettings) -> HotnessStore:
    """The store that the settings name. Raises `UsageError` for an unknown name."""
    if settings.store in STORES:
        return STORES[settings.store](settings)
    outside = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if settings.store not in outside:
        raise unknown_name("store", settings.store, [*STORES, *sorted(outside)])
    factory: Callable[[EngineSettings], HotnessStore] = outside[settings.store].load()
    return factory(settings)
