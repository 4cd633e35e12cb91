"""The live sources by name. A source of your own joins through an entry point of the group
"pghot.live_sources"."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from pghot.errors import unknown_name
from pghot.kernel.sysroot import SysRoot
from pghot.live.sources.access_source import AccessSource
from pghot.parameters import options_of

# Called with the `SysRoot`; its other parameters are the source's options.
LiveSourceClass = Callable[..., AccessSource]
ENTRY_POINT_GROUP = "pghot.live_sources"

# Module and class, imported when needed: naming the sources must stay cheap.
LIVE_SOURCES: dict[str, tuple[str, str]] = {
    "faults": ("pghot.live.sources.faults", "Faults"),
    "softdirty": ("pghot.live.sources.softdirty", "SoftDirty"),
    "idle": ("pghot.live.sources.idle", "Idle"),
    "damon": ("pghot.live.sources.damon", "Damon"),
    "ibs": ("pghot.live.sources.ibs", "Ibs"),
    "pebs": ("pghot.live.sources.pebs", "Pebs"),
    "spe": ("pghot.live.sources.spe", "Spe"),
    "chmu": ("pghot.live.sources.chmu", "Chmu"),
    "swapins": ("pghot.live.sources.swapins", "SwapIns"),
    "lrugen": ("pghot.live.sources.lrugen", "LruGen"),
    "replay": ("pghot.live.sources.recorded", "Replay"),
}


def live_source_names() -> list[str]:
    """All live sources, ours first, those of other packages after them."""
    outside = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    return [*LIVE_SOURCES, *sorted(outside - set(LIVE_SOURCES))]


def live_source_class(name: str) -> LiveSourceClass:
    """The class of a source. Raises `UsageError` for a name nobody registered."""
    if name in LIVE_SOURCES:
        module, attribute = LIVE_SOURCES[name]
        return cast(LiveSourceClass, getattr(import_module(module), attribute))
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            return cast(LiveSourceClass, point.load())
    raise unknown_name("live source", name, live_source_names())


def make_live_source(name: str, root: SysRoot, **options: Any) -> AccessSource:
    """Build a live source; its needs are not checked yet."""
    return live_source_class(name)(root, **options)


def live_source_options(name: str) -> dict[str, Any]:
    """The options of a source with their defaults."""
    return options_of(live_source_class(name))
