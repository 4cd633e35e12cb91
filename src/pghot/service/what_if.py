"""`pghot run --what-if`: a machine without a slow tier records with what it has, and the lab simulates the tiers."""

from __future__ import annotations

from pghot.errors import UnsupportedError, UsageError
from pghot.kernel.sysroot import SysRoot
from pghot.machine.compressed_device import ACCESS_RULES
from pghot.machine.topology import Topology
from pghot.sources.live_registry import make_live_source
from pghot.units import PAGE_BYTES

# Best first: these see every tier and reads as well as writes; soft-dirty bits see writes only.
_CHOICES = ("ibs", "pebs", "spe", "idle", "damon", "softdirty")
_POLICIES = ("none", "all-fast", "pghot-default", "pghot-precise", "numab2", "oracle-static")
NOTE = "what-if: accesses as {source} saw them here, tiers and moves simulated; nothing was moved"


def policies_beside(policy: str) -> str:
    """The policies to simulate, by comma: the chosen one beside bounds, baselines and the kernel's own.

    >>> policies_beside("hemem")
    'none,all-fast,pghot-default,pghot-precise,numab2,oracle-static,hemem'
    """
    return ",".join(dict.fromkeys((*_POLICIES, policy)))


def check_simulation(topology: Topology, policy: str, fast_share: float) -> None:
    """Raise the `UsageError` now that the simulation would raise once the program has run."""
    from pghot.lab.capacity import size_nodes
    from pghot.lab.compare import plan_runs

    plan = plan_runs(policies_beside(policy).split(","), ())
    size_nodes(topology, 1, PAGE_BYTES, fast_share)
    rule = next((run.policy for run in plan if run.policy in ACCESS_RULES), None)
    if rule and topology.compressed_node is None:
        raise UsageError(
            f"policy '{rule}' is a rule for compressed memory, and no node of these tiers compresses",
            "give --what-if dram-cxl-compressed, or a tiers file with such a node",
        )


def choose_source(command: bool, root: SysRoot | None = None) -> str:
    """The best source of this machine: a live one, else the emulator when there is a command to start in it.

    Raises `UnsupportedError` when nothing can see the accesses of running programs here.
    """
    root = root or SysRoot()
    for name in _CHOICES:
        if all(need.met for need in make_live_source(name, root).needs()):
            return name
    if command:
        return "qemu"
    raise UnsupportedError(
        "no live source works here", "see `pghot doctor`; a command that pghot starts can be emulated: -- CMD"
    )
