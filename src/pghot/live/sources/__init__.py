"""The live sources: who saw which program access which page."""

from __future__ import annotations

from pghot.engine.accesses import by_mechanism
from pghot.live.sources.access_source import AccessSource
from pghot.plugins import Registry

# Called with the `SysRoot`.
LIVE_SOURCES: Registry[AccessSource] = Registry(
    "live source",
    ("pghot.live.sources",),
    "pghot.live_sources",
    declares=("name", "summary", "mechanism", "inline", "released", "weight", "sees", "only_reads"),
    given=1,
    order=by_mechanism,
)
