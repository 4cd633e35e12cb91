"""Two recordings side by side: which regions grew, which cooled, and how much of the heat moved between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pghot.recording.heat import Measure
from pghot.recording.reader import Recording
from pghot.recording.summary import region_totals
from pghot.recording.totals import PageTotals

COUNTS = 0.1  # a size or a rate that changed by less than this share of the larger one is the same


@dataclass(frozen=True, slots=True)
class Side:
    """What one recording has of the comparison. regions: as `region_totals` gives them."""

    name: str
    duration_s: float
    page_bytes: int
    misses: int
    touches: int
    footprint_bytes: int
    regions: Sequence[dict[str, Any]]

    @property
    def rates(self) -> dict[str, float]:
        """Its figures that compare with those of a longer or shorter recording."""
        seconds = self.duration_s or 1.0
        return {"misses_per_s": self.misses / seconds, "touches_per_s": self.touches / seconds}


@dataclass(frozen=True, slots=True)
class RegionChange:
    """A region before and after, all mappings of one name together; 0 where it was not touched.

    rate_before, rate_after    misses (or touches) per second of the recording
    share_before, share_after  of all misses (or touches)
    """

    name: str
    bytes_before: int
    bytes_after: int
    rate_before: float
    rate_after: float
    share_before: float
    share_after: float

    @property
    def words(self) -> list[str]:
        """What became of it.

        >>> RegionChange("a", 4096, 8192, 10.0, 9.5, 0.5, 0.5).words
        ['grew']
        >>> RegionChange("a", 0, 4096, 0.0, 5.0, 0.0, 0.1).words
        ['new']
        """
        if not self.bytes_before:
            return ["new"]
        if not self.bytes_after:
            return ["gone"]
        size = _direction(self.bytes_before, self.bytes_after, "grew", "shrank")
        return size + _direction(self.rate_before, self.rate_after, "hotter", "cooler")


@dataclass(frozen=True, slots=True)
class Difference:
    """measure: what heat is, in both. changes: those whose share changed most come first."""

    measure: Measure
    before: Side
    after: Side
    changes: tuple[RegionChange, ...]

    @property
    def moved_share(self) -> float:
        """The least share of the heat that would have to go to other regions to make one recording of the other."""
        return sum(abs(each.share_after - each.share_before) for each in self.changes) / 2


def side_of(recording: Recording, totals: PageTotals) -> Side:
    """One side, of a recording that was read."""
    return Side(
        recording.info.name,
        recording.duration_ns / 1e9,
        recording.info.page_bytes,
        recording.total_misses,
        recording.total_touches,
        recording.footprint_pages * recording.info.page_bytes,
        region_totals(recording.regions, totals.touches, totals.misses, totals.writes),
    )


def difference(before: Side, after: Side) -> Difference:
    """What changed. Heat is misses, or touches where one of them has no misses."""
    measure: Measure = "misses" if before.misses and after.misses else "touches"
    old, new = ({each["name"]: each for each in side.regions if each["touches"]} for side in (before, after))
    changes = []
    for name in dict.fromkeys([*old, *new]):
        (bytes_a, rate_a, share_a), (bytes_b, rate_b, share_b) = (
            _figures(side, regions.get(name), measure) for side, regions in ((before, old), (after, new))
        )
        changes.append(RegionChange(name, bytes_a, bytes_b, rate_a, rate_b, share_a, share_b))
    changes.sort(key=lambda each: (-abs(each.share_after - each.share_before), -each.share_after, each.name))
    return Difference(measure, before, after, tuple(changes))


def _figures(side: Side, region: dict[str, Any] | None, measure: Measure) -> tuple[int, float, float]:
    """Touched bytes, heat per second, and the share of the heat."""
    if region is None:
        return 0, 0.0, 0.0
    total = max(1, side.misses if measure == "misses" else side.touches)
    heat = region[measure]
    return region["pages"] * side.page_bytes, heat / (side.duration_s or 1.0), heat / total


def _direction(before: float, after: float, up: str, down: str) -> list[str]:
    if abs(after - before) < COUNTS * max(before, after) or before == after:
        return []
    return [up if after > before else down]
