"""What the live side does now, as plain data: the status line, `pghot status`, the summary of a run and the metrics
all read it from here."""

from __future__ import annotations

import contextlib
import math
from collections import Counter

import numpy as np
import numpy.typing as npt

from pghot.errors import UsageError
from pghot.kernel.cgroup import read_limits
from pghot.kernel.process import resident_bytes
from pghot.live.loop import Live
from pghot.live.nothing_seen import why_nothing
from pghot.live.status_facts import (
    BudgetFacts,
    CgroupFacts,
    DegradedFacts,
    GroupFacts,
    LeftOutFacts,
    NodeFacts,
    SourceFacts,
    StatusFacts,
)
from pghot.live.swap_tier.setup import CompressedFacts, compressed_counters, compressed_facts
from pghot.units import PAGE_BYTES, format_size

Counts = npt.NDArray[np.int64]


def counters(live: Live, out: CompressedFacts | None = None) -> dict[str, float]:
    """The counters of everything but the sources, under their declared names. `out`: see `compressed_facts`.

    A policy may count the events of a source under the name of the source's own counter. Those are left out here, since
    the source counts them (as `lab.bench.all_counters`).
    """
    moves = live.machine.counts
    counted = {name for source in live.sources for name in source.counters()}
    return {
        **{name: value for name, value in policy_counters(live).items() if name not in counted},
        "pgpromote_success": moves.promoted,
        "pgdemote_proactive": moves.demoted,
        "pgmigrate_success": moves.promoted + moves.demoted,
        "pgmigrate_fail": moves.failed,
        "pghot_pingpong_pages": moves.returned,
        "pghot_demotion_withheld": live.machine.lru.withheld if live.machine.lru else 0,
        **(live.damos.counters() if live.damos else {}),
        **{f"pghot_skipped_{reason}": count for reason, count in live.spaces.skipped.items()},
        "pghot_bound_bytes": live.spaces.bound_bytes(),
        "pghot_policy_unknown_bytes": live.spaces.policy_unknown_bytes(),
        "pghot_unscanned_bytes": live.unscanned_bytes(),
        "pghot_hugetlb_bytes": live.spaces.hugetlb_bytes(),
        "pghot_unseen_hugetlb_bytes": live.unseen_hugetlb_bytes(),
        "pghot_hugetlb_no_room": live.machine.pools.refused,
        "pghot_virtual_machines": len(live.spaces.with_guests()),
        **compressed_counters(out),
        "pghot_sections": len(live.spaces.table),
        "pghot_cpu_seconds": round(live.cost.total_s(), 3),
        "pghot_resident_bytes": resident_bytes(live.root),
    }


def policy_counters(live: Live) -> Counter[str]:
    """Those of the policies of all groups together."""
    total: Counter[str] = Counter()
    for group in live.groups:
        total.update(group.policy.counters())
    return total


def group_facts(live: Live) -> list[GroupFacts]:
    """Each group that the configuration names, in order; none where all programs are under one policy."""
    return [
        {
            "name": group.name,
            "policy": group.policy.name,
            "programs": programs,
            "promoted_pages": group.machine.pace.promoted,
            "rate_limit_mb_s": group.machine.pace.rate_mb_s,
            "pingpong_guard_share": group.machine.pace.share,
        }
        for group, programs in zip(live.groups, live.members.counts, strict=True)
        if group.name
    ]


def source_facts(live: Live) -> list[SourceFacts]:
    """Each source with its sampling, sightings and own counters."""
    return [
        {
            "name": source.name,
            "sampling": source.sampling() + (live.marked() if source.mechanism == "hint fault" else ""),
            "weight": source.weight,
            "effort": round(live.budget.effort, 4),
            "counters": {"pghot_sightings": live.sighted[source.name], **source.counters()},
        }
        for source in live.sources
    ]


def node_facts(live: Live, tracked: Counts, hot: Counts) -> list[NodeFacts]:
    """Each node with memory: its tier, what is free, its floor, and the tracked and hot pages on it."""
    machine = live.machine
    return [
        {
            "node": node,
            "tier": live.topology.rank[node],
            "capacity_bytes": int(machine.capacity_pages[node]) * PAGE_BYTES,
            "free_bytes": int(machine.free_pages[node]) * PAGE_BYTES,
            "floor_bytes": int(machine.floor_pages[node]) * PAGE_BYTES,
            "tracked_bytes": int(tracked[node]) * PAGE_BYTES,
            "hot_bytes": int(hot[node]) * PAGE_BYTES,
        }
        for node in range(len(machine.rank))
        if machine.capacity_pages[node] and node not in live.topology.left_out
    ]


def left_out_facts(live: Live, tracked: Counts) -> list[LeftOutFacts]:
    """Each memory node that is left out, why, and the tracked pages there, which stay."""
    return [
        {"node": node, "why": why, "tracked_bytes": int(tracked[node]) * PAGE_BYTES}
        for node, why in live.topology.left_out.items()
    ]


def cgroup_facts(live: Live) -> list[CgroupFacts]:
    """Each tracked cgroup with its limits in force; one that vanished is left out."""
    found: list[CgroupFacts] = []
    for cgroup in live.settings.targets.whole_cgroups:
        with contextlib.suppress(UsageError):
            limits = read_limits(live.root, cgroup)
            found.append(
                {
                    "cgroup": cgroup,
                    "max_bytes": limits.max_bytes,
                    "high_bytes": limits.high_bytes,
                    "current_bytes": limits.current_bytes,
                    "nodes": limits.nodes,
                }
            )
    return found


def budget_facts(live: Live) -> BudgetFacts:
    """The share of a CPU that pghot may use (None: no limit), and the share of the full rate at which sources run."""
    limit = live.budget.max_cpu_percent
    return {
        "max_cpu_percent": limit if math.isfinite(limit) else None,
        "effort": round(live.budget.effort, 4),
    }


def placed_pages(live: Live) -> tuple[Counts, Counts]:
    """Two int64[nodes]: the movable tracked pages on each node as last heard, and those of them with some heat.

    `pghot hot` ranks the latter."""
    nodes = len(live.machine.rank)
    tracked, hot = live.spaces.pages.placed(live.spaces.table.in_use())
    return tracked[:nodes], hot[:nodes]


def degraded_facts(live: Live) -> list[DegradedFacts]:
    """What is wrong while it runs on."""
    return [{"part": each.part, "problem": each.problem} for each in live.degraded]


def status(live: Live, schema: str = "pghot.status/1") -> StatusFacts:
    """Everything, ready for JSON."""
    on_node, hot_on_node = placed_pages(live)
    tracked = int(on_node.sum())
    own_bytes = live.tracking_bytes()
    out = compressed_facts(live.machine, live.root, on_node)
    return {
        "schema": schema,
        "mode": "apply" if live.settings.apply else "dry run",
        "seconds": round(live.seconds, 3),
        "policy": ", ".join(dict.fromkeys(group.policy.name for group in live.groups)),
        "programs": [{"pid": space.pid, "name": space.name} for space in live.spaces.spaces],
        "cgroups": cgroup_facts(live),
        "groups": group_facts(live),
        "compressed": out,
        "sources": source_facts(live),
        "degraded": degraded_facts(live),
        "effect": live.effect.facts(),
        "nothing_seen": why_nothing(live, on_node),
        "nodes": node_facts(live, on_node, hot_on_node),
        "left_out_nodes": left_out_facts(live, on_node),
        "mover": live.damos.facts() if live.damos else {"name": live.settings.mover.kind},
        "moves": {
            "promoted_pages": live.machine.counts.promoted,
            "demoted_pages": live.machine.counts.demoted,
            "failed": dict(sorted(live.machine.counts.status.items())),
            "held_back": held_back(live),
            "lowest_free_above_floor_pages": live.machine.lowest_margin,
            "rate_limit_mb_s": live.settings.mover.rate_limit_mb_s,
            "pingpong_guard_share": min(group.machine.promotion_share for group in live.groups),
            "goal": goal.facts() if (goal := live.machine.pace.goal) else None,
            "promoted_by_the_kernel_pages": live.kernel_moves.promoted_pages(),
            "balanced_by_the_kernel_pages": live.kernel_moves.balanced_pages(),
        },
        "counters": counters(live, out),
        "tracking": {
            "tracked_pages": tracked,
            "bytes_used": own_bytes,
            "bytes_per_tracked_page": round(own_bytes / tracked, 2) if tracked else None,
        },
        "budget": budget_facts(live),
        "journal": str(live.journal.path) if live.journal and not live.journal.empty else None,
    }


def line(live: Live) -> str:
    """One line for the terminal. Its sightings are of the tracked programs: events on all CPUs see the others too."""
    moves = live.machine.counts
    verb = "promoted" if live.settings.apply else "would promote"
    seen = sum(live.sighted.values()) - live.spaces.skipped["foreign"]
    parts = [
        f"{live.seconds:.0f} s",
        f"{len(live.spaces.spaces)} programs",
        f"{seen:,} sightings",
        f"{verb} {format_size(moves.promoted * PAGE_BYTES)}",
    ]
    if live.surveying:
        parts.append("sources start when it is known where all pages are")
    if moves.demoted:
        parts.append(f"demoted {format_size(moves.demoted * PAGE_BYTES)}")
    if moves.failed:
        parts.append(f"{moves.failed:,} failed")
    if live.degraded:
        parts.append("degraded")
    return " · ".join(parts)


def held_back(live: Live) -> dict[str, int]:
    """Decisions of the policies of all groups not to move, by reason, the most frequent first."""
    counts: dict[str, int] = {}
    for group in live.groups:
        for why, count in group.world.decisions.held_back().items():
            counts[why] = counts.get(why, 0) + count
    return dict(sorted(counts.items(), key=lambda each: -each[1]))
