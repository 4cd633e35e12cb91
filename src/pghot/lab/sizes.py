"""How much fast memory runs need, and what the memory costs: the results of `lab.size`, and what is best among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from pghot.lab.comparison_setup import Setup
from pghot.policies.runs_on import RunsOn
from pghot.sim.machine.price import Price

SCHEMA = "pghot.size/1"
ALL_FAST = "all-fast"
TODAY = ("kernel", "user space")  # what can be had: the others are patches to come, and what knows the future
_COLUMNS = pa.schema(
    {
        "tiers": pa.string(),
        "label": pa.string(),
        "runs_on": pa.string(),
        "fast_share": pa.float64(),
        "cost": pa.float64(),
        "slowdown": pa.float64(),
        "ci95": pa.float64(),
        "front": pa.bool_(),
    }
)


@dataclass(frozen=True, slots=True)
class Size:
    """What one run needs.

    fast_share   mean over the seeds; None: the largest share that was tried is not enough for each of them
    ci95         half-width of its 95 % interval; None with one seed
    fast_bytes   `fast_share` in the real system
    least, most  the wanted slowdown lies between the mean ones at these shares; most is None: below none that was tried
    at_largest   mean slowdown at the largest share that was tried; None: it did not do all its work there
    missed_by    how far that is above the wanted slowdown; None: it is not, or is not known
    cost         mean cost of the memory over the seeds; None: there is no `fast_share`, or there are no prices
    cost_ci95    half-width of its 95 % interval
    """

    label: str
    runs_on: RunsOn
    fast_share: float | None
    ci95: float | None
    fast_bytes: float | None
    least: float
    most: float | None
    at_largest: float | None
    missed_by: float | None
    cost: float | None
    cost_ci95: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """A size that was tried, or fast memory alone (`fast_share` 1).

    cost      of the memory; None: there are no prices
    slowdown  mean over the seeds; None: the program did not do all its work
    ci95      half-width of its 95 % interval; None with one seed
    """

    label: str
    runs_on: RunsOn
    fast_share: float
    cost: float | None
    slowdown: float | None
    ci95: float | None


@dataclass(frozen=True, slots=True)
class Sizes:
    """What `size` returns. All figures are simulated.

    tiers     their name, or what they call themselves
    slowdown  the wanted one, as a ratio
    setup     of the largest share
    shares    that were tried, each for some of the runs
    points    every run at each share that was tried for it, and fast memory alone last
    price     what the tiers say of prices
    """

    tiers: str
    slowdown: float
    setup: Setup
    sizes: Sequence[Size]
    shares: Sequence[float]
    points: Sequence[Point]
    price: Price | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return {
            "schema": SCHEMA,
            "simulated": True,
            "tiers": self.tiers,
            "slowdown": self.slowdown,
            "cheapest": asdict(offer) if (offer := cheapest([self])) else None,
            "price": self.price.model_dump(mode="json") if self.price else None,
            "setup": self.setup.to_dict(),
            "sizes": [asdict(each) for each in self.sizes],
            "shares": list(self.shares),
            "points": [asdict(each) for each in self.points],
        }


@dataclass(frozen=True, slots=True)
class Offer:
    """What keeps the wanted slowdown, on which tiers and at which cost.

    cost_ci95  half-width of its 95 % interval over the seeds; None: one seed, or no run is needed to know it
    alike      others whose cost the seeds do not tell from this one's, as (tiers, label)
    """

    tiers: str
    label: str
    cost: float
    cost_ci95: float | None
    alike: tuple[tuple[str, str], ...]


def front(found: Sequence[Sizes]) -> list[tuple[str, Point]]:
    """The points that can be had today and that no other such point beats: none is as cheap and as fast, and better in
    one of the two. By cost, ascending, with the name of their tiers.
    """
    points = sorted(
        (
            (each.tiers, point)
            for each in found
            for point in each.points
            if point.runs_on in TODAY and point.cost is not None and point.slowdown is not None
        ),
        key=lambda item: (item[1].cost, item[1].slowdown),
    )
    kept: list[tuple[str, Point]] = []
    for tiers, point in points:
        if not kept or _slowdown(point) < _slowdown(kept[-1][1]) or _same(point, kept[-1][1]):
            kept.append((tiers, point))
    return kept


def table(found: Sequence[Sizes]) -> pa.Table:
    """All points as an Arrow table, a row each, with the name of their tiers and whether they are on the front."""
    kept = front(found)
    return pa.Table.from_pylist(
        [
            {"tiers": each.tiers, **asdict(point), "front": (each.tiers, point) in kept}
            for each in found
            for point in each.points
        ],
        schema=_COLUMNS,
    )


def _slowdown(point: Point) -> float:
    return point.slowdown or 0.0


def _same(one: Point, other: Point) -> bool:
    return (one.cost, one.slowdown) == (other.cost, other.slowdown)


def cheapest(found: Sequence[Sizes]) -> Offer | None:
    """What keeps the slowdown for the least cost, of all that can be had today; None: nothing with a price does.

    Fast memory alone is an offer too: where the slower memory is dear or the program needs all to be fast, it wins.
    """
    offers = [
        Offer(each.tiers, one.label, one.cost, one.cost_ci95, ())
        for each in found
        for one in each.sizes
        if one.runs_on in TODAY and one.cost is not None
    ]
    offers += [
        Offer(each.tiers, point.label, point.cost, None, ())
        for each in found
        for point in each.points
        if point.label == ALL_FAST and point.cost is not None and _slowdown(point) <= each.slowdown
    ]
    if not offers:
        return None
    best = min(offers, key=lambda offer: offer.cost)
    most = best.cost + (best.cost_ci95 or 0.0)
    alike = [each for each in offers if each is not best and each.cost - (each.cost_ci95 or 0.0) <= most]
    return replace(best, alike=tuple((each.tiers, each.label) for each in alike))
