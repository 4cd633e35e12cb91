"""The lab's sources by name. A source of your own joins through an entry point of the group
"pghot.sources"."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from pghot.errors import unknown_name
from pghot.sources.simulated import SimulatedSource, SourceSettings

SourceFactory = Callable[..., SimulatedSource]
ENTRY_POINT_GROUP = "pghot.sources"


def _late(module: str, name: str) -> SourceFactory:
    """A factory that imports its module when called: naming the sources must not load numba."""

    def make(settings: SourceSettings, **parameters: Any) -> SimulatedSource:
        return cast(
            SimulatedSource, getattr(import_module(f"pghot.sources.{module}"), name)(settings, **parameters)
        )

    return make


SOURCES: dict[str, SourceFactory] = {
    "hintfaults": _late("hintfaults", "HintFaults"),
    "abit": _late("abit", "AbitScan"),
    "ibs": _late("ibs", "Ibs"),
    "pebs": _late("pebs", "Pebs"),
    "chmu": _late("chmu", "Chmu"),
    "truth": _late("truth", "Truth"),
}

SUMMARIES: dict[str, str] = {
    "hintfaults": "NUMA hint faults, mode 2: page, node and latency; paid by the application",
    "abit": "page-table accessed bits, walked every 2 s; touched or not, paid by a kernel thread",
    "ibs": "AMD instruction sampling: page and node of 1 in 10000 misses",
    "pebs": "Intel event sampling: page and node of 1 in 10007 misses",
    "chmu": "hotness monitoring unit of each CXL device: hot list of an epoch",
    "truth": "every miss, free: the yardstick, not a machine's offer",
}


def source_names() -> list[str]:
    """Built-in sources first, then those that installed packages registered."""
    outside = sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP))
    return [*SOURCES, *(name for name in outside if name not in SOURCES)]


def make_source(name: str, settings: SourceSettings, **parameters: Any) -> SimulatedSource:
    """The named source; `parameters` override the defaults of its class (`period_misses=499`).

    Raises `UsageError` for an unknown name, suggesting the nearest.
    """
    if name in SOURCES:
        return SOURCES[name](settings, **parameters)
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return cast(SimulatedSource, point.load()(settings, **parameters))
    raise unknown_name("source", name, source_names())
