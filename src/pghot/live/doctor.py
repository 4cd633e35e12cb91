"""What this machine can do: its tiers, and for each live source and mover whether it works here, and why not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import TypedDict

from pghot.engine.accesses import sees_top_tier
from pghot.errors import PghotError
from pghot.kernel.base_pages import base_page_needs
from pghot.kernel.kconfig import KernelConfig, read_config
from pghot.kernel.kvm import programs_with_guests
from pghot.kernel.namespaces import notes as container_notes
from pghot.kernel.needs import Need, Verdict
from pghot.kernel.numa_settings import read_numa_settings
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.chosen_nodes import AS_THEY_ARE, NodeChoice, choose_nodes
from pghot.live.machine.nodes import LiveTopology, free_pages_on, read_nodes
from pghot.live.sources import LIVE_SOURCES
from pghot.live.ways_to_move import WAYS
from pghot.units import PAGE_BYTES

_MOST_NAMED = 5
_OPTION = re.compile(r"CONFIG_[A-Z0-9_]+")
_SEVERITY: dict[Verdict, int] = {"yes": 0, "not permitted": 1, "unsupported": 2}


class FindingFacts(TypedDict):
    name: str
    summary: str
    verdict: Verdict
    needs: list[dict[str, str]]


class NodeReport(TypedDict):
    node: int
    tier: int | None
    memory_tier: int | None
    cpus: list[int]
    size_bytes: int
    free_bytes: int
    watermark_bytes: dict[str, int]
    access: dict[str, object] | None
    distances: dict[str, int]
    promotion_targets: list[int]
    demotion_targets: list[int]


class DoctorFacts(TypedDict):
    """The document `pghot.doctor/1`; docs/cli.md says what each key means."""

    schema: str
    kernel: str
    kernel_config: str
    captured_tree: str
    tiers_from: str
    nodes: list[NodeReport]
    kernel_tiering: dict[str, object]
    notes: list[str]
    sources: list[FindingFacts]
    movers: list[FindingFacts]
    conclusion: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One source or mover: the worst verdict of its needs, and all of them."""

    name: str
    summary: str
    needs: tuple[Need, ...]
    sees_accesses: bool = False  # a source of accesses, not a recording or faults of swap
    sees_top: bool = False  # a source that reports pages of the top tier

    @property
    def why(self) -> str:
        """Why it does not work: the reason of its worst need."""
        return max(self.needs, key=lambda need: _SEVERITY[need.verdict]).why

    @property
    def verdict(self) -> Verdict:
        return max((need.verdict for need in self.needs), key=_SEVERITY.__getitem__, default="yes")

    def facts(self) -> FindingFacts:
        return {
            "name": self.name,
            "summary": self.summary,
            "verdict": self.verdict,
            "needs": [asdict(need) for need in self.needs],
        }


def diagnose(root: SysRoot, nodes: NodeChoice = AS_THEY_ARE) -> DoctorFacts:
    """The JSON of `pghot doctor`. Changes nothing, and says what could not be read.

    Raises `UsageError` for nodes that are not there.
    """
    config = read_config(root)
    topology, notes = _topology(root, nodes)
    notes += container_notes(root)
    seeing, moving = list(sources(root, config)), list(movers(root, topology, config))
    return {
        "schema": "pghot.doctor/1",
        "kernel": root.osrelease(),
        "kernel_config": config.path,
        "captured_tree": "" if root.live else str(root.root),
        "tiers_from": topology.tier_source if topology else "",
        "nodes": _nodes(root, topology) if topology else [],
        "kernel_tiering": asdict(read_numa_settings(root)),
        "notes": notes,
        "sources": [finding.facts() for finding in seeing],
        "movers": [finding.facts() for finding in moving],
        "conclusion": conclusion(seeing, moving),
    }


def conclusion(seeing: Sequence[Finding], moving: Sequence[Finding]) -> str:
    """What can be done here with pghot, and what not and why, in one sentence."""
    can = ["compare policies in the lab"]
    cannot = []
    accesses = [finding for finding in seeing if finding.sees_accesses]
    if working := [finding for finding in accesses if finding.verdict == "yes"]:
        names = ", ".join(finding.name for finding in working)
        can.append(f"see accesses ({names})")
        lru = next(finding for finding in moving if finding.name == "lru_gen")
        if not any(finding.sees_top for finding in working) and lru.verdict != "yes":
            cannot.append(f"make room on a full fast node, where {names} sees nothing ({lru.why})")
    elif accesses:
        default = next((finding for finding in accesses if finding.name == "faults"), accesses[0])
        cannot.append(f"see accesses ({default.why})")
    for way, what in (
        ("move_pages", "move pages between tiers"),
        ("compressed", "put cold pages into compressed swap"),
    ):
        finding = next(finding for finding in moving if finding.name == way)
        if finding.verdict == "yes":
            can.append(what)
        else:
            cannot.append(f"{what} ({finding.why})")
    return f"Here pghot can {_listed(can, 'and')}{'; it cannot ' * bool(cannot)}{_listed(cannot, 'or')}."


def _listed(words: Sequence[str], last: str) -> str:
    """
    >>> _listed(["a", "b", "c"], "and")
    'a, b and c'
    """
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _topology(root: SysRoot, nodes: NodeChoice) -> tuple[LiveTopology | None, list[str]]:
    try:
        topology = read_nodes(root)
    except PghotError as error:
        return None, [f"{error} ({error.hint})"]
    topology = choose_nodes(root, topology, nodes)
    said = (_left_out_notes(topology), _hint_fault_notes(topology), _guest_notes(root))
    return topology, [*topology.notes, *chain.from_iterable(said)]


def _guest_notes(root: SysRoot) -> Iterator[str]:
    if found := programs_with_guests(root):
        named = ", ".join(map(str, found[:_MOST_NAMED])) + ", ..." * (len(found) > _MOST_NAMED)
        yield (
            f"{len(found)} programs run virtual machines (pid {named}): what these touch is faulted in by KVM and "
            "vhost, and the source faults does not see it"
        )


def _left_out_notes(topology: LiveTopology) -> Iterator[str]:
    """One for each reason."""
    for why in dict.fromkeys(topology.left_out.values()):
        nodes = [str(node) for node, reason in topology.left_out.items() if reason == why]
        yield f"node{'s' * (len(nodes) > 1)} {_listed(nodes, 'and')} {'are' if nodes[1:] else 'is'} left out: {why}"


def _hint_fault_notes(topology: LiveTopology) -> Iterator[str]:
    """The kernel's notion of a top tier decides which pages get hint faults, not ours."""
    blind = [node for node in topology.lower if node in topology.kernel_top_nodes]
    if blind:
        names = ", ".join(str(node) for node in blind)
        yield f"the kernel calls node {names} top tier too: in mode 2 its pages get no hint faults"


def _nodes(root: SysRoot, topology: LiveTopology) -> list[NodeReport]:
    return [
        _node(topology, node, free_pages_on(root, node))
        for node in sorted({*topology.online, *topology.with_memory, *topology.left_out})
    ]


def _node(topology: LiveTopology, node: int, free: int) -> NodeReport:
    access = topology.access[node]
    marks = topology.watermarks[node]
    has_memory = node in topology.with_memory
    return {
        "node": node,
        "tier": topology.rank[node] if has_memory else None,
        "memory_tier": topology.tier_number[node] if has_memory else None,
        "cpus": list(topology.cpus[node]),
        "size_bytes": topology.capacity_pages[node] * PAGE_BYTES,
        "free_bytes": free * PAGE_BYTES,
        "watermark_bytes": {name: pages * PAGE_BYTES for name, pages in asdict(marks).items()},
        "access": asdict(access) if access else None,
        "distances": {str(other): topology.distances[node][other] for other in topology.online},
        "promotion_targets": list(topology.promotion_targets[node])
        if topology.rank[node] and has_memory
        else [],
        "demotion_targets": list(topology.demotion_targets[node]) if has_memory else [],
    }


def sources(root: SysRoot, config: KernelConfig) -> Iterator[Finding]:
    """Every registered live source."""
    for name in LIVE_SOURCES.names():
        try:
            source = LIVE_SOURCES.make(name, root)
            needs = with_config([*base_page_needs(root), *source.needs()], config)
            yield Finding(name, source.summary, needs, source.mechanism is not None, sees_top_tier(source))
        except (
            Exception
        ) as error:  # a source of another package may be broken in any way; the others still count
            why = str(error) if isinstance(error, PghotError) else f"{type(error).__name__}: {error}"
            yield Finding(
                name, "", (Need("the source itself", "unsupported", why, "report it to its authors"),)
            )


def movers(root: SysRoot, topology: LiveTopology | None, config: KernelConfig) -> Iterator[Finding]:
    """Every way in which pages can change tiers."""
    for way in WAYS:
        yield Finding(
            way.name,
            way.summary,
            with_config([*base_page_needs(root), *way.needs(root, topology)], config),
        )


def with_config(needs: Iterable[Need], config: KernelConfig) -> tuple[Need, ...]:
    """The needs. An unmet need that names kernel options also says how they are set here."""
    return tuple(need if need.met else _explained(need, config) for need in needs)


def _explained(need: Need, config: KernelConfig) -> Need:
    options = dict.fromkeys(_OPTION.findall(f"{need.why} {need.remedy}"))
    said = [words for option in options if (words := config.says(option))]
    return replace(need, why=f"{need.why} ({'; '.join(said)})") if said else need
