"""Which memory nodes are fast, slow and left out: as the user says, else as the kernel has them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pghot.errors import UsageError
from pghot.kernel.cpus import parse_list
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.gpu_nodes import gpu_nodes
from pghot.live.machine.nodes import LiveTopology, demotion_targets, promotion_targets
from pghot.policies import tiers

_LIST = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*")  # no kernel has more than 1024 nodes


@dataclass(frozen=True, slots=True)
class NodeChoice:
    """What the user said; None: nothing.

    fast, slow  the nodes of the top tier and those below it. Of the nodes that are not named, those that are fast (or
                slow) by themselves are it only as long as no fast (or slow) ones were named
    left_out    nothing is moved to or from these
    """

    fast: tuple[int, ...] | None = None
    slow: tuple[int, ...] | None = None
    left_out: tuple[int, ...] | None = None


AS_THEY_ARE = NodeChoice()


def parse_nodes(text: str, option: str) -> tuple[int, ...]:
    """A list of nodes as the kernel writes it. Raises `UsageError` that names the option.

    >>> parse_nodes("0-1,4", "--fast-nodes")
    (0, 1, 4)
    """
    try:
        found = tuple(sorted(set(parse_list(text)))) if _LIST.fullmatch(text.strip()) else ()
    except ValueError:
        found = ()
    if not found:
        raise UsageError(f"{option} '{text}' is no list of nodes", "write it as the kernel does: 0-1,4")
    return found


def choose_nodes(root: SysRoot, topology: LiveTopology, choice: NodeChoice) -> LiveTopology:
    """The topology with the nodes that are left out, and with the tiers that were named.

    Memory of GPUs is left out unless it is named fast or slow. Raises `UsageError` for a node that has no memory here
    or was named twice, and when no fast node is left.
    """
    _check(topology, choice)
    named = {*(choice.fast or ()), *(choice.slow or ())}
    why = {node: reason for node, reason in gpu_nodes(root, topology).items() if node not in named}
    why |= dict.fromkeys(choice.left_out or (), "it was left out by name")
    rank = _ranks(topology, choice, [node for node in topology.with_memory if node not in why])
    why |= {
        node: "it was named neither fast nor slow" for node in topology.with_memory if node not in rank | why
    }
    if 0 not in rank.values():
        raise UsageError("no fast node is left", f"this machine has {_listed(topology.with_memory)}")
    with_memory = tuple(sorted(rank))
    after_all = max(rank.values()) + 1
    ranks = tuple(rank.get(node, after_all) for node in range(len(topology.rank)))
    return replace(
        topology,
        with_memory=with_memory,
        rank=ranks,
        tier_source="named" if named else topology.tier_source,
        promotion_targets=promotion_targets(with_memory, ranks, topology.distances),
        demotion_targets=demotion_targets(with_memory, ranks, topology.distances),
        left_out=dict(sorted(why.items())),
    )


def _check(topology: LiveTopology, choice: NodeChoice) -> None:
    seen: dict[int, str] = {}
    for kind, nodes in (("fast", choice.fast), ("slow", choice.slow), ("left out", choice.left_out)):
        for node in nodes or ():
            if node not in topology.with_memory:
                raise UsageError(
                    f"node {node}, named {kind}, is no memory node of this machine",
                    f"it has {_listed(topology.with_memory)}: see `pghot doctor`",
                )
            if node in seen:
                raise UsageError(f"node {node} is named {seen[node]} and {kind}", "name it once")
            seen[node] = kind


def _ranks(topology: LiveTopology, choice: NodeChoice, nodes: list[int]) -> dict[int, int]:
    """The tier of each node that takes part, 0 = fast."""
    if choice.fast is None and choice.slow is None:
        return _dense(topology, nodes)
    slow = choice.slow
    fast = choice.fast
    if fast is None:
        rank = _dense(topology, [node for node in nodes if node not in (slow or ())])
        fast = tuple(node for node in rank if rank[node] == 0)
    if slow is None:
        rank = _dense(topology, nodes)
        slow = tuple(node for node in nodes if rank[node] > 0 and node not in fast)
    below = {node: 1 + rank for node, rank in _dense(topology, slow).items()}
    return dict.fromkeys(fast, 0) | below


def _dense(topology: LiveTopology, nodes: Iterable[int]) -> dict[int, int]:
    nodes = list(nodes)
    return dict(zip(nodes, tiers.ranks([topology.rank[node] for node in nodes]), strict=True))


def _listed(nodes: Iterable[int]) -> str:
    return f"memory nodes {', '.join(map(str, nodes))}"
