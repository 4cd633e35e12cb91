"""Why nothing was seen. An empty result without a reason looks like a program that does nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.counters import COUNTERS
from pghot.live.loop import Live
from pghot.policies.live_rules import unseen_is_cold
from pghot.units import format_size


def why_nothing(live: Live, on_node: npt.NDArray[np.int64]) -> list[str]:
    """The reasons, each one line, the surest first; empty when an access of a tracked page was seen.

    on_node  int64[nodes]  tracked pages on each node
    """
    left_out = dict(live.spaces.skipped)
    foreign = left_out.pop("foreign")
    seen = sum(live.sighted.values()) - foreign
    if not live.sources or seen > sum(left_out.values()):
        return []
    if not live.programs_found:
        return ["there was no program to track"]
    reasons = [_left_out(seen, left_out)] if seen else _blind(live, on_node)
    if foreign and not seen:
        reasons.append(f"all {foreign:,} sightings were of processes that are not tracked")
    reasons += [f"{each.part}: {each.problem}" for each in live.degraded]
    if live.budget.effort < 1:
        share = f"{100 * live.budget.effort:.0f} %"
        reasons.append(f"the sources sampled at {share} of their rate, to keep to the budget of CPU time")
    return reasons or [
        f"{_names(live)} reported no access in {live.seconds:.1f} s: the programs may be idle, or the time too short"
    ]


def _left_out(seen: int, left_out: dict[str, int]) -> str:
    """In the words of the counters, the most frequent first."""
    words = [
        f"{count:,} {COUNTERS[f'pghot_skipped_{reason}'].help.removeprefix('sightings ')}"
        for reason, count in sorted(left_out.items(), key=lambda each: -each[1])
        if count
    ]
    return f"all {seen:,} sightings were left out: {'; '.join(words)}"


def _blind(live: Live, on_node: npt.NDArray[np.int64]) -> list[str]:
    """What the sources cannot see of these programs."""
    reasons = [f"{each.name} sees no addresses" for each in live.sources if each.mechanism is None]
    if not live.alive:
        reasons.append(f"the programs had ended after {live.seconds:.1f} s")
    below = sum(int(on_node[node]) for node in range(len(on_node)) if live.topology.rank[node] > 0)
    if on_node.sum() and not below and not unseen_is_cold(live.sources):
        reasons.append(
            f"all {on_node.sum():,} tracked pages are on the top tier, where {_names(live)} sees none"
        )
    if unscanned := live.unscanned_bytes():
        reasons.append(
            f"{format_size(unscanned)} get no hint faults under a policy of their owner, "
            "such as preferred or interleave"
        )
    if hugetlb := live.unseen_hugetlb_bytes():
        reasons.append(
            f"{_names(live)} cannot see hugetlb pages, which {format_size(hugetlb)} of mappings have"
        )
    reasons += [f"{each.name} sees only what is written" for each in live.sources if each.sees == "writes"]
    return reasons


def _names(live: Live) -> str:
    return " and ".join(source.name for source in live.sources)
