"""Latency and bandwidth of a memory node (HMAT or CXL CDAT), as drivers/base/node.c shows them.

`nodeN/access0` is for the nearest initiator of any kind (Linux >= 5.2), `nodeN/access1` for the nearest CPU
(>= 5.10). The kernel forms tiers from the latter.
"""

from __future__ import annotations

from dataclasses import dataclass

from pghot.kernel.node_files import NODES, read_number
from pghot.kernel.sysroot import SysRoot

ATTRIBUTES = ("read_latency", "write_latency", "read_bandwidth", "write_bandwidth")


@dataclass(frozen=True, slots=True)
class NodeAccess:
    """What the firmware says about access to a node. Latencies in ns, bandwidths in MB/s.

    access_class  1: from the nearest CPU; 0: from the nearest initiator, where the kernel shows no other
    initiators    the nodes for which this holds
    """

    access_class: int
    initiators: tuple[int, ...]
    read_latency_ns: int
    write_latency_ns: int
    read_bandwidth_mb_s: int
    write_bandwidth_mb_s: int


def read_access(root: SysRoot, node: int) -> NodeAccess | None:
    """The attributes of a node, None when firmware gives none. 0 stands for "not known" and counts as none."""
    for access_class in (1, 0):
        directory = f"{NODES}/node{node}/access{access_class}/initiators"
        values = [read_number(root, f"{directory}/{name}") or 0 for name in ATTRIBUTES]
        if min(values) > 0:
            return NodeAccess(access_class, _initiators(root, directory), *values)
    return None


def _initiators(root: SysRoot, directory: str) -> tuple[int, ...]:
    names = (name.removeprefix("node") for name in root.list(directory))
    return tuple(sorted(int(name) for name in names if name.isdigit()))
