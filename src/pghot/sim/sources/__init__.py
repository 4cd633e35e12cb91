"""The sources of the lab: what each mechanism would have seen of a trace."""

from __future__ import annotations

from collections.abc import Iterable

from pghot.engine.accesses import by_mechanism
from pghot.plugins import Registry
from pghot.sim.sources.simulated_source import SimulatedSource

# Called with the `SourceSettings`.
SOURCES: Registry[SimulatedSource] = Registry(
    "source",
    ("pghot.sim.sources",),
    "pghot.sources",
    declares=("name", "summary", "mechanism", "inline", "released", "sees", "clairvoyant"),
    given=1,
    order=by_mechanism,
)


def clairvoyant(names: Iterable[str]) -> bool:
    """Whether any of these sources could not exist on a real machine."""
    return any(SOURCES.get(name).clairvoyant for name in names)
