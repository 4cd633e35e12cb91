"""`size` on several tiers for one program: what its memory costs on each, and how long it takes.

The program is the same on all: what the recording stands for on the first tiers, footprint and threads, it stands for
on the others. All slowdowns compare with the machine on which one pass with fast memory alone is the shortest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pghot.errors import UsageError
from pghot.lab.compare import compare
from pghot.lab.setting import Setting
from pghot.lab.size import size
from pghot.lab.sizes import ALL_FAST, Sizes, cheapest, front
from pghot.recording.trace import Trace
from pghot.sim.machine.topology import Topology, load_topology

SCHEMA = "pghot.size-tiers/1"


@dataclass(frozen=True, slots=True)
class TierSizes:
    """What `size_tiers` returns, for each tiers in their order. All figures are simulated."""

    found: Sequence[Sizes]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        offer = cheapest(self.found)
        return {
            "schema": SCHEMA,
            "simulated": True,
            "slowdown": self.found[0].slowdown,
            "tiers": [each.to_dict() for each in self.found],
            "cheapest": asdict(offer) if offer else None,
            "front": [{"tiers": tiers, **asdict(point)} for tiers, point in front(self.found)],
        }


def load_tiers(tiers: Sequence[str | Path]) -> dict[str, Topology]:
    """Each by its name. Raises `UsageError` for prices in several currencies, and for one tiers named twice."""
    found: dict[str, Topology] = {}
    for name in map(str, tiers):
        if name in found:
            raise UsageError(f"--tiers {name} is given twice", "give each tiers once")
        found[name] = load_topology(name)
    for (one, first), (other, second) in itertools.combinations(found.items(), 2):
        if first.price and second.price and first.price.currency != second.price.currency:
            raise UsageError(
                f"the prices of {one} are in {first.price.currency}, those of {other} in {second.price.currency}",
                "give all prices in one currency",
            )
    return found


def need_prices(tiers: dict[str, Topology]) -> None:
    """Raise `UsageError` for tiers without prices."""
    for name, topology in tiers.items():
        if topology.price is None:
            raise UsageError(
                f"'{name}' has no prices, so a picture of cost has nothing to show of it",
                "add [price] to a tiers file of your own: currency, source, date, and per_gib of each node",
            )


def size_tiers(
    recording: str | Path | Trace,
    tiers: dict[str, Topology],
    *arguments: Any,
    slowdown: float,
    setting: Setting | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> TierSizes:
    """`size` on each of these tiers, by name; arguments and options as there."""
    setting, alone = setting or Setting(), {}
    for name, topology in tiers.items():
        alone[name], setting = _fast_memory_alone(recording, topology, setting)
    fastest = min(alone.values())

    def part(number: int) -> Callable[[int, int], None]:
        return lambda done, total: progress(number * total + done, len(tiers) * total)

    return TierSizes(
        [
            replace(
                size(
                    recording, topology, *arguments, slowdown=slowdown, setting=setting,
                    scale=alone[name] / fastest, progress=part(number), **options,
                ),
                tiers=name,
            )
            for number, (name, topology) in enumerate(tiers.items())
        ]
    )  # fmt: skip


def _fast_memory_alone(
    recording: str | Path | Trace, topology: Topology, setting: Setting
) -> tuple[float, Setting]:
    """Seconds of one pass with fast memory alone, and the setting that makes other tiers stand for the same program."""
    once = replace(setting, duration_s=None, fast_share=0.5, seeds=1)
    result = compare(recording, topology, [ALL_FAST], setting=once)
    similar = result.setup.similarity
    fixed = replace(setting, stands_for=None, times=similar.group_pages, threads=similar.threads)
    return next(row.figures.time_s for row in result.rows if row.label == ALL_FAST), fixed
