"""Memory of GPUs that the kernel shows as memory nodes: of NVIDIA behind NVLink on POWER9 and on Grace.

It belongs to who uses the GPU, and is reset with it. The driver names the range when it adds it ("System RAM (NVIDIA)"
in /proc/iomem, add_memory_driver_managed). Where that cannot be read, firmware gives it away: each GPU's node has no
CPUs, no latencies of its own, and one flat distance to every other node, farther than the sockets are from each other.
Memory behind CXL is nearer to one socket, or has latencies, or the driver kmem.
"""

from __future__ import annotations

from pghot.errors import UnsupportedError
from pghot.kernel.iomem import drivers_ram
from pghot.kernel.memory_blocks import read_block_ranges
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.nodes import UNREACHABLE, LiveTopology
from pghot.units import PAGE_BYTES

GPU_DRIVERS = ("NVIDIA",)


def gpu_nodes(root: SysRoot, topology: LiveTopology) -> dict[int, str]:
    """Each memory node that is a GPU's, and how that shows."""
    candidates = [node for node in topology.with_memory if not topology.cpus[node]]
    drivers = _drivers(root) if candidates else {}
    found = {}
    for node in candidates:
        if (driver := drivers.get(node, "")) in GPU_DRIVERS:
            found[node] = f"it is memory of a GPU: the kernel calls it System RAM ({driver})"
        elif not driver and topology.access[node] is None and (distance := _flat_distance(topology, node)):
            found[node] = (
                f"it looks like memory of a GPU: no CPUs, and all other nodes at the one distance {distance}"
            )
    return found


def _drivers(root: SysRoot) -> dict[int, str]:
    """The driver that added the memory of a node."""
    ranges = drivers_ram(root)
    if not ranges:
        return {}
    try:
        blocks = read_block_ranges(root)
    except UnsupportedError:
        return {}
    return {
        block.node: driver
        for start, driver in ranges
        for block in blocks
        if block.first_pfn <= start // PAGE_BYTES < block.end_pfn
    }


def _flat_distance(topology: LiveTopology, node: int) -> int:
    """The one distance of a node to all others, 0 when it is nearer to some, or no farther than a socket is."""
    sockets = [other for other in topology.online if topology.cpus[other]]
    apart = [topology.distances[one][other] for one in sockets for other in sockets if one != other]
    others = {topology.distances[node][other] for other in topology.online if other != node}
    if not apart or len(others) != 1:
        return 0
    distance = others.pop()
    return distance if max(apart) < distance < UNREACHABLE else 0
