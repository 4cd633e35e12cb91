"""The ways in which pages can change tiers, and what each needs of the machine: for `pghot doctor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pghot.kernel.cgroup import CGROUPS, cgroup2_remedy
from pghot.kernel.damon_sysfs import damon_need
from pghot.kernel.damos_sysfs import paddr_migrates
from pghot.kernel.knob_files import DEMOTION_ENABLED, NUMA_BALANCING, PROMOTE_RATE_LIMIT
from pghot.kernel.lru_gen import lru_gen_need
from pghot.kernel.needs import Need, knob_need
from pghot.kernel.process import has_capability, with_capabilities
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.kinds import shared_need
from pghot.live.machine.nodes import LiveTopology
from pghot.live.swap_tier.swap_space import compressed_needs


@dataclass(frozen=True, slots=True)
class WayToMove:
    """One way. `needs` takes the topology, None where it cannot be read."""

    name: str
    summary: str
    needs: Callable[[SysRoot, LiveTopology | None], list[Need]]


def _tiers_need(topology: LiveTopology | None) -> Need:
    what = "memory in two tiers or more"
    if topology is not None and topology.tiers > 1:
        return Need(what)
    nodes = len(topology.with_memory) if topology else 0
    why = f"{nodes} memory nodes, all in one tier" if nodes > 1 else "this machine has one memory node"
    return Need(what, "unsupported", why, "the lab simulates tiers: pghot compare")


def _move_pages(root: SysRoot, topology: LiveTopology | None) -> list[Need]:
    """Since Linux 4.13 the caller needs ptrace read access: own programs, or CAP_SYS_PTRACE.

    CAP_SYS_NICE, which older manual pages name, is needed only for MPOL_MF_MOVE_ALL; tried on 6.12.
    """
    what = "pages of other users' programs"
    if has_capability(root, "CAP_SYS_PTRACE"):
        return [_tiers_need(topology), Need(what)]
    need = Need(
        what,
        "not permitted",
        "CAP_SYS_PTRACE is missing: only pages of this user's own programs move",
        f"sudo pghot ..., or {with_capabilities('CAP_SYS_PTRACE')}",
    )
    return [_tiers_need(topology), need]


def _shared(root: SysRoot, topology: LiveTopology | None) -> list[Need]:
    return [_tiers_need(topology), shared_need(root)]


def _reclaim(root: SysRoot, topology: LiveTopology | None) -> list[Need]:
    what = f"cgroup v2 with the memory controller at {CGROUPS}"
    controllers = root.read_or(f"{CGROUPS}/cgroup.controllers").split()
    if not root.exists(f"{CGROUPS}/cgroup.procs"):
        mounted = Need(what, "unsupported", f"no cgroup v2 at {CGROUPS}", cgroup2_remedy(root))
    elif "memory" not in controllers:
        mounted = Need(
            what,
            "unsupported",
            "the memory controller is not in cgroup.controllers",
            "CONFIG_MEMCG=y, and no cgroup_disable=memory or cgroup v1 mount of it",
        )
    else:
        lacking = "Linux 5.19 or later"
        mounted = knob_need(root, "memory.reclaim", f"{CGROUPS}/memory.reclaim", lacking)
    return [_tiers_need(topology), mounted, _demotion_knob(root)]


def _demotion_knob(root: SysRoot) -> Need:
    return knob_need(root, "demotion by reclaim", DEMOTION_ENABLED, "Linux 5.15 with CONFIG_MIGRATION=y")


def _demotion(root: SysRoot, topology: LiveTopology | None) -> list[Need]:
    return [_tiers_need(topology), _demotion_knob(root)]


def _damos(root: SysRoot, topology: LiveTopology | None) -> list[Need]:
    what = "DAMOS actions migrate_hot and migrate_cold"
    release = root.release()
    known = Need(what)
    if not paddr_migrates(root):
        why = f"Linux {release[0]}.{release[1]} has none"
        known = Need(what, "unsupported", why, "Linux 6.11 or later with CONFIG_DAMON_PADDR=y")
    return [_tiers_need(topology), known, damon_need(root, "paddr")]


def _lru_gen(root: SysRoot, topology: LiveTopology | None) -> list[Need]:
    return [_tiers_need(topology), lru_gen_need(root), _demotion_knob(root)]


def _mode2(root: SysRoot, topology: LiveTopology | None) -> list[Need]:
    what = f"{NUMA_BALANCING} = 2"
    lacking = "Linux 5.18 or later with CONFIG_NUMA_BALANCING=y"
    known = knob_need(root, what, NUMA_BALANCING, lacking)
    limit = knob_need(root, "its rate limit", PROMOTE_RATE_LIMIT, "Linux 6.1 or later")
    return [_tiers_need(topology), known, limit]


def _compressed(root: SysRoot, topology: LiveTopology | None) -> list[Need]:
    return compressed_needs(root)


WAYS = (
    WayToMove("move_pages", "promotes and demotes chosen pages of chosen programs", _move_pages),
    WayToMove("shared", "move_pages for shared memory and mapped files, one record a page", _shared),
    WayToMove("memory.reclaim", "demotes what a cgroup uses least, by its size", _reclaim),
    WayToMove("demotion", "the kernel's reclaim demotes when a node is short", _demotion),
    WayToMove(
        "lru_gen",
        "demotes the oldest generation of a cgroup on a node; makes room where no source sees",
        _lru_gen,
    ),
    WayToMove("compressed", "puts cold pages into zram or zswap, and fetches them back", _compressed),
    WayToMove("damos", "DAMON promotes hot and demotes cold regions", _damos),
    WayToMove("numa_balancing", "the kernel's own promotion, for comparison", _mode2),
)
