"""What DAMON as the mover needs: a kernel whose DAMOS migrates pages, nodes to migrate between, and DAMON to itself."""

from __future__ import annotations

from pghot.kernel.damon_sysfs import damon_need
from pghot.kernel.damos_sysfs import VADDR_MIGRATES, paddr_migrates
from pghot.kernel.iomem import iomem_need
from pghot.kernel.namespaces import cgroup_names_need
from pghot.kernel.needs import Need
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.nodes import LiveTopology


def damos_needs(root: SysRoot, topology: LiveTopology, by_cgroup: bool) -> list[Need]:
    """What the mover needs. by_cgroup: whole cgroups are tracked, not single programs."""
    return [*kernel_needs(root, topology, by_cgroup), *damon_needs(root, by_cgroup)]


def kernel_needs(root: SysRoot, topology: LiveTopology, by_cgroup: bool) -> list[Need]:
    """Of the kernel and the nodes."""
    release = root.release()
    version = f"this is Linux {release[0]}.{release[1]}"
    what = "DAMOS actions migrate_hot and migrate_cold"
    if not paddr_migrates(root):
        kernel = Need(what, "unsupported", f"Linux 6.11 brought migrate_hot; {version}", "--mover move_pages")
    elif not by_cgroup and release < VADDR_MIGRATES:
        why = f"DAMOS moves pages of single programs since Linux 6.17 only; {version}"
        kernel = Need(what, "unsupported", why, "track a whole cgroup (--cgroup PATH), or --mover move_pages")
    else:
        kernel = Need(what)
    nodes = Need("where pages go")
    if not topology.lower:
        nodes = Need(
            nodes.what,
            "unsupported",
            "no memory below the top tier",
            "the lab simulates tiers: pghot compare",
        )
    elif not by_cgroup and len(topology.lower) + len(topology.top_nodes) + len(topology.left_out) > 2:
        why = "DAMOS of single programs knows one fast and one slow node; this machine has more"
        nodes = Need(
            nodes.what, "unsupported", why, "track a whole cgroup (--cgroup PATH), or --mover move_pages"
        )
    return [kernel, nodes]


def damon_needs(root: SysRoot, by_cgroup: bool) -> list[Need]:
    """Of DAMON itself, which must not be in use yet."""
    needs = [damon_need(root, "paddr" if by_cgroup else "fvaddr")]
    if by_cgroup and not (names := cgroup_names_need(root)).met:
        needs.append(names)
    if by_cgroup and not (iomem := iomem_need(root)).met:
        needs.append(iomem)
    return needs
