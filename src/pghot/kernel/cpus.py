"""CPUs and the lists in which the kernel names them (lib/bitmap-str.c, drivers/base/{cpu,node}.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.kernel.sysroot import SysRoot


def online_cpus(root: SysRoot) -> list[int]:
    """Numbers of the online CPUs."""
    return parse_list(root.read("/sys/devices/system/cpu/online"))


def parse_list(text: str) -> list[int]:
    """A kernel list of numbers.

    >>> parse_list("0-2,5")
    [0, 1, 2, 5]
    """
    found: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    return found


def node_of_cpu(root: SysRoot) -> npt.NDArray[np.int16]:
    """int16[cpus]: the memory node of each possible CPU, -1 when it is not known."""
    possible = parse_list(root.read_or("/sys/devices/system/cpu/possible", "0"))
    nodes = np.full(max(possible) + 1, -1, np.int16)
    for entry in root.list("/sys/devices/system/node"):
        if entry.startswith("node") and entry[4:].isdigit():
            for cpu in parse_list(root.read_or(f"/sys/devices/system/node/{entry}/cpulist")):
                if cpu < len(nodes):
                    nodes[cpu] = int(entry[4:])
    return nodes
