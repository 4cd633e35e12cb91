"""The lab's sources by name. A source of your own joins through an entry point of the group
"pghot.sources"."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from pghot.errors import unknown_name
from pghot.parameters import options_of
from pghot.sim.sources.simulated_source import SimulatedSource, SourceSettings

SourceFactory = Callable[..., SimulatedSource]
ENTRY_POINT_GROUP = "pghot.sources"


# Module and class, imported when needed: naming the sources must not load numba.
SOURCES: dict[str, tuple[str, str]] = {
    "hintfaults": ("pghot.sim.sources.hintfaults", "HintFaults"),
    "abit": ("pghot.sim.sources.abit", "AbitScan"),
    "ibs": ("pghot.sim.sources.ibs", "Ibs"),
    "pebs": ("pghot.sim.sources.pebs", "Pebs"),
    "chmu": ("pghot.sim.sources.chmu", "Chmu"),
    "truth": ("pghot.sim.sources.truth", "Truth"),
}


def source_names() -> list[str]:
    """Built-in sources first, then those that installed packages registered."""
    outside = sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP))
    return [*SOURCES, *(name for name in outside if name not in SOURCES)]


def source_class(name: str) -> SourceFactory:
    """The class of a source. Raises `UsageError` for an unknown name, suggesting the nearest."""
    if name in SOURCES:
        module, attribute = SOURCES[name]
        return cast(SourceFactory, getattr(import_module(module), attribute))
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return cast(SourceFactory, point.load())
    raise unknown_name("source", name, source_names())


def make_source(name: str, settings: SourceSettings, **parameters: Any) -> SimulatedSource:
    """The named source; `parameters` override the defaults of its class (`period_misses=499`).

    Raises `UsageError` for an unknown name, or a value that the source cannot work with.
    """
    return source_class(name)(settings, **parameters)


def source_options(name: str) -> dict[str, Any]:
    """The parameters of a source with their defaults."""
    return options_of(source_class(name))
