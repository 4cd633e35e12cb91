"""What a compressed tier is worth under each access rule: memory saved, slowdown, and the reserve that it needs.

Every rule runs with the reserve that `pghot.safety.margin` computes for it, so that what is saved is saved safely. A
rule that no reserve makes safe runs without one, and the result says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from pghot.errors import UsageError
from pghot.lab.compare import DEVICE_MOVER, Comparison, compare
from pghot.lab.evidence import too_little
from pghot.lab.traces import load_trace
from pghot.rules import device_rules
from pghot.safety.margin import Host, Margins, margins
from pghot.sim.machine.topology import Topology

SCHEMA = "pghot.economics/1"
DURATION_S = (
    60.0  # of each run, or a pass if that is longer; deterministic but for what sources sample: one seed
)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class RuleCost:
    """One recording under one rule; the device's hotness unit names the pages to promote.

    All but `reserve_bytes` is simulated.

    rule           its name
    footprint_bytes  of the real system that the recording stands for
    passes         how often the recording was played, at least once: before, not all memory is in use
    reserve_bytes  for the node at its size in the tiers file; None: no reserve makes the rule safe, and none was kept
    saved_share    share of the footprint that compression saves, steady mean; None when a tenant was killed
    slowdown       run time divided by that with all memory fast; None when a tenant was killed
    speedup        run time of 'none' under the same rule (pages are demoted when memory is full, and promoted when
                   the rule demands it) divided by that of the mover; None when a tenant was killed

    Both times are None, too, when the recording holds too little to judge by (`lab.evidence`): a warning says why.
    """

    recording: str
    rule: str
    footprint_bytes: float
    passes: float
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
    """What `economics` found.

    lines     one for each recording and rule
    margins   the reserves, with their reasons
    contents  where the page sizes of each recording come from
    warnings  what a reader must know about a recording: that it is damaged, or that its page sizes are assumed
    """

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
    if (held := topology.compression) is None:
        raise UsageError("no node of these tiers compresses", "give --tiers dram-cxl-compressed")
    found = margins(held.device, host, held.real, held.promised)
    for recording in recordings:  # a wrong name must fail now, not after an hour of replays
        load_trace(recording)
    lines: list[RuleCost] = []
    contents: dict[str, str] = {}
    warnings: dict[str, list[str]] = {}
    rules = device_rules()
    total = len(recordings) * len(rules)
    for recording in recordings:
        for rule in rules:
            progress(len(lines), total)
            margin = found.rules[rule.name]
            reserve = int(margin.reserve_bytes) if margin.fits else None
            tiers = topology.with_compressed_node(access=rule, reserve=reserve or 0)
            result = _replayed(recording, tiers, fast_share)
            lines.append(_line(recording, rule.name, reserve, result))
            contents[recording] = result.setup.contents or ""
            # The warning about a rule is given once, not again with each recording.
            warnings[recording] = [text for text in result.setup.warnings if text != rule.warning]
            if lack := too_little(result.setup, result.rows):
                warnings[recording].append(f"slowdown and speed-up cannot be told, as {lack}")
    progress(total, total)
    return Economics(
        lines=tuple(lines),
        margins=found,
        contents=contents,
        warnings=warnings,
        tiers=topology.description,
        fast_share=fast_share,
    )


def _replayed(recording: str, tiers: Topology, fast_share: float) -> Comparison:
    """The comparison of a mover with the baselines, over at least a whole pass of the recording."""
    run = partial(
        compare,
        recording,
        tiers,
        [DEVICE_MOVER],
        fast_share=fast_share,
        times=_times(recording, tiers),
        seeds=1,
    )
    result = run(duration_s=DURATION_S)
    return result if result.setup.timing.passes >= 1 else run(duration_s=None)


def _times(recording: str, tiers: Topology) -> float | None:
    """K with which the largest of several recorded caches stands for that of the tiers; None: there is no choice.

    With a smaller cache K is larger, and so is the system: a minute would see a small part of what it does.
    """
    caches = load_trace(recording).info.cache_bytes
    return max(1.0, tiers.llc_bytes / max(caches)) if len(caches) > 1 and tiers.llc_bytes else None


def _line(recording: str, rule: str, reserve: int | None, result: Comparison) -> RuleCost:
    figures = next(row.figures for row in result.rows if row.kind == "mover")
    tells = too_little(result.setup, result.rows) is None
    return RuleCost(
        recording=recording,
        rule=rule,
        footprint_bytes=result.setup.similarity.footprint_bytes,
        passes=result.setup.timing.passes,
        reserve_bytes=reserve,
        saved_share=None if figures.killed_tenants else figures.saved_share,
        slowdown=figures.slowdown if tells else None,
        speedup=figures.speedup if tells else None,
        write_faults=int(figures.write_faults or 0),
        refused_pages=int(figures.refused_pages or 0),
        lost_pages=int(figures.lost_pages or 0),
        killed_tenants=int(figures.killed_tenants or 0),
    )
