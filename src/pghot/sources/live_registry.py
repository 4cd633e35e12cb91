"""The live sources by name. A source of your own joins through an entry point of the group
"pghot.live_sources"."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from pghot.errors import unknown_name
from pghot.kernel.sysroot import SysRoot
from pghot.sources.live import AccessSource

# Options are keyword arguments of the source's class.
LiveSourceFactory = Callable[..., AccessSource]
ENTRY_POINT_GROUP = "pghot.live_sources"


def _late(module: str, name: str) -> LiveSourceFactory:
    """A factory that imports its module when called: naming the sources must stay cheap."""

    def make(root: SysRoot, **options: Any) -> AccessSource:
        return cast(AccessSource, getattr(import_module(f"pghot.sources.{module}"), name)(root, **options))

    return make


LIVE_SOURCES: dict[str, LiveSourceFactory] = {}


def live_source_names() -> list[str]:
    """All live sources, ours first, those of other packages after them."""
    outside = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    return [*LIVE_SOURCES, *sorted(outside - set(LIVE_SOURCES))]


def make_live_source(name: str, root: SysRoot, **options: Any) -> AccessSource:
    """Build a live source; its needs are not checked yet. Raises `UsageError` for a name nobody registered."""
    if name in LIVE_SOURCES:
        return LIVE_SOURCES[name](root, **options)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            return cast(LiveSourceFactory, point.load())(root, **options)
    raise unknown_name("live source", name, live_source_names())
