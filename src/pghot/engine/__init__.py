"""The hotness engine: which pages are worth promoting, from accesses alone."""

from __future__ import annotations

from pghot.engine.store import HotnessStore
from pghot.plugins import Registry

# Called with the `EngineSettings`.
STORES: Registry[HotnessStore] = Registry("store", ("pghot.engine",), "pghot.stores", given=1)
