"""What a compressed tier is worth, access rule by access rule: memory saved, slowdown, and the reserve that it needs.

Every rule runs with the reserve that `pghot.safety.margin` computes for it, so that what is saved is saved safely. A
rule that no reserve makes safe runs without one, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pghot.errors import UsageError
from pghot.lab.compare import compare
from pghot.lab.metrics import Figures
from pghot.lab.traces import load_trace
from pghot.safety.margin import Host, Margins, margins
from pghot.sim.compressed.device import ACCESS_RULES, AccessRule
from pghot.sim.machine.topology import Node, Topology

SCHEMA = "pghot.economics/1"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class RuleCost:
    """One recording under one rule. All but `reserve_bytes` is simulated.

    reserve_bytes  of the node as in the tiers file; None: no reserve makes the rule safe, and none was kept
    saved_share    share of the footprint that compression saves, steady mean; None when a tenant was killed
    slowdown       run time over that with all memory fast; None when a tenant was killed
    speedup        run time of 'none' (pages come down when memory is full, up when written) over that of the rule
    """

    recording: str
    rule: AccessRule
    reserve_bytes: int | None
    saved_share: float | None
    slowdown: float | None
    speedup: float | None
    write_faults: int
    refused_pages: int
    lost_pages: int
    killed_tenants: int


@dataclass(frozen=True, slots=True)
class Economics:
    """The lines, the reserves with their reasons, where the page sizes of each recording come from, and what a reader
    must know of a recording: that it is damaged, or that its page sizes are assumed."""

    lines: tuple[RuleCost, ...]
    margins: Margins
    contents: dict[str, str]
    warnings: dict[str, list[str]]
    tiers: str
    fast_share: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "simulated": True,
            "tiers": self.tiers,
            "fast_share": self.fast_share,
            "contents": self.contents,
            "warnings": self.warnings,
            "lines": [asdict(line) for line in self.lines],
            "margins": self.margins.to_dict(),
        }


def economics(
    recordings: Sequence[str],
    topology: Topology,
    host: Host,
    fast_share: float = 0.2,
    progress: Progress = lambda done, total: None,
) -> Economics:
    """Replay every recording under every rule. Raises `UsageError` when no node of the tiers compresses."""
    if (index := topology.compressed_node) is None:
        raise UsageError("no node of these tiers compresses", "give --tiers dram-cxl-compressed")
    node = topology.nodes[index]
    assert node.compressed is not None
    assert node.real_capacity is not None
    found = margins(node.compressed, host, node.real_capacity, node.capacity)
    for recording in recordings:  # a wrong name is told now, not after an hour of replays
        load_trace(recording)
    lines: list[RuleCost] = []
    contents: dict[str, str] = {}
    warnings: dict[str, list[str]] = {}
    total = len(recordings) * len(ACCESS_RULES)
    for recording in recordings:
        for rule in ACCESS_RULES:
            progress(len(lines), total)
            margin = found.rules[rule]
            reserve = int(margin.reserve_bytes) if margin.fits else None
            result = compare(
                recording, _with_reserve(topology, index, reserve or 0), [rule], fast_share=fast_share
            )
            figures = next(row.figures for row in result.rows if row.policy == rule)
            lines.append(_line(recording, rule, reserve, figures))
            contents[recording] = result.setup.contents or ""
            warnings[recording] = list(result.setup.warnings)
    progress(total, total)
    return Economics(tuple(lines), found, contents, warnings, topology.description, fast_share)


def _with_reserve(topology: Topology, index: int, reserve: int) -> Topology:
    nodes: list[Node] = list(topology.nodes)
    nodes[index] = nodes[index].model_copy(update={"reserve": reserve})
    return topology.model_copy(update={"nodes": tuple(nodes)})


def _line(recording: str, rule: AccessRule, reserve: int | None, figures: Figures) -> RuleCost:
    return RuleCost(
        recording,
        rule,
        reserve,
        None if figures.killed_tenants else figures.saved_share,
        figures.slowdown,
        figures.speedup,
        int(figures.write_faults or 0),
        int(figures.refused_pages or 0),
        int(figures.lost_pages or 0),
        int(figures.killed_tenants or 0),
    )
