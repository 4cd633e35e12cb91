"""Zones and their watermarks from /proc/zoneinfo (mm/vmstat.c, zoneinfo_show_print)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pghot.kernel.sysroot import SysRoot


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone of a node; all in pages. The watermarks are without `boost`, which the kernel adds
    for a while after fragmentation (watermark_boost_factor; wmark_pages in include/linux/mmzone.h).

    promo  with more free than this, promotion has room (WMARK_PROMO, Linux >= 5.18). 6.12 shows it. 6.1 does not: then
           it is computed, as far above `high` as `high` is above `low` (__setup_per_zone_wmarks).
    batch  pages that a per-CPU list takes from the zone at once, initially; 0 when it is not shown
    """

    node: int
    name: str
    free: int
    managed: int
    min: int
    low: int
    high: int
    promo: int
    batch: int = 0


@dataclass(frozen=True, slots=True)
class NodeWatermarks:
    """Sums over the zones of a node, in pages."""

    min: int = 0
    low: int = 0
    high: int = 0
    promo: int = 0


_SHOWN = ("min", "low", "high", "promo", "managed", "boost")


def read_zoneinfo(root: SysRoot) -> tuple[Zone, ...]:
    """All populated zones, none when they cannot be read."""
    return parse_zoneinfo(root.read_or("/proc/zoneinfo"))


def parse_zoneinfo(text: str) -> tuple[Zone, ...]:
    """All populated zones. Other lines are skipped: each kernel adds some.

    >>> parse_zoneinfo("Node 1, zone Normal\\n pages free 9\\n min 1\\n low 2\\n high 3\\n managed 20")
    (Zone(node=1, name='Normal', free=9, managed=20, min=1, low=2, high=3, promo=4, batch=0),)
    >>> parse_zoneinfo("Node 1, zone Normal\\n boost 5\\n min 6\\n low 7\\n high 8\\n managed 20")[0].high
    3
    """
    found: list[tuple[int, str, dict[str, int]]] = []
    for line in text.split("\n"):
        words = line.split()
        if line.startswith("Node ") and len(words) >= 4 and words[1].rstrip(",").isdigit():
            found.append((int(words[1].rstrip(",")), words[3], {}))
        elif found and words[:2] == ["pages", "free"] and words[-1].isdigit():
            found[-1][2]["free"] = int(words[-1])
        elif found and len(words) == 2 and words[0] in _SHOWN and words[1].isdigit():
            found[-1][2][words[0]] = int(words[1])
        elif found and len(words) == 2 and words[0] == "batch:" and words[1].isdigit():
            found[-1][2]["batch"] = max(int(words[1]), found[-1][2].get("batch", 0))
    return tuple(_zone(*parts) for parts in found if parts[2].get("managed"))


def _zone(node: int, name: str, values: dict[str, int]) -> Zone:
    boost = values.get("boost", 0)
    least, low, high = (max(0, values.get(key, 0) - boost) for key in ("min", "low", "high"))
    promo = values["promo"] - boost if "promo" in values else 2 * high - low
    return Zone(
        node=node,
        name=name,
        free=values.get("free", 0),
        managed=values["managed"],
        min=least,
        low=low,
        high=high,
        promo=promo,
        batch=values.get("batch", 0),
    )


def watermarks(zones: Iterable[Zone], node: int) -> NodeWatermarks:
    """The watermarks of a node; zeros when it has no zone."""
    own = [zone for zone in zones if zone.node == node]
    return NodeWatermarks(
        sum(zone.min for zone in own),
        sum(zone.low for zone in own),
        sum(zone.high for zone in own),
        sum(zone.promo for zone in own),
    )
