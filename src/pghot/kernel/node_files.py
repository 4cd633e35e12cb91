"""The files of /sys/devices/system/node (drivers/base/node.c), read so that an error names a damaged file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pghot.errors import NotPermittedError, UnsupportedError
from pghot.kernel.cpus import parse_list, parse_map, possible_cpus
from pghot.kernel.sysroot import SysRoot

NODES = "/sys/devices/system/node"


def read_list(root: SysRoot, name: str) -> tuple[int, ...]:
    """The numbers of a list such as "0-2,5", ascending; none when there is no such file.

    Raises `NotPermittedError` when the file may not be read, `UnsupportedError` when it holds something else.
    """
    return _numbers(root, name, parse_list)


def _numbers(root: SysRoot, name: str, parse: Callable[[str], list[int]]) -> tuple[int, ...]:
    try:
        text = root.read(name)
    except PermissionError:
        raise NotPermittedError(f"not permitted to read {name}", "run as root, outside the sandbox") from None
    except OSError:
        return ()
    try:
        return tuple(sorted(parse(text)))
    except ValueError:
        raise UnsupportedError(
            f"{name} is '{text[:40]}', not a list of numbers", "give --root a copy of /proc and /sys"
        ) from None


def online_nodes(root: SysRoot) -> tuple[int, ...]:
    """The nodes that are online. Many captured trees lack the list; the directories of nodes say it too, since an
    offline node has none. Raises as `read_list`."""
    return read_list(root, f"{NODES}/online") or tuple(_directories(root))


def _directories(root: SysRoot) -> list[int]:
    names = (name.removeprefix("node") for name in root.list(NODES) if name.startswith("node"))
    return sorted(int(name) for name in names if name.isdigit())


def node_cpus(root: SysRoot, node: int) -> tuple[int, ...]:
    """The CPUs of a node: `cpulist`, or `cpumap` where there is no list. Raises as `read_list`."""
    own = f"{NODES}/node{node}"
    if root.exists(f"{own}/cpulist"):
        return read_list(root, f"{own}/cpulist")
    return _numbers(root, f"{own}/cpumap", parse_map)


def read_number(root: SysRoot, name: str, base: int = 10) -> int | None:
    """The whole number in a file, None when it cannot be read or holds something else."""
    try:
        return int(root.read_or(name), base)
    except ValueError:
        return None


def node_of_cpu(root: SysRoot) -> npt.NDArray[np.int16]:
    """int16[cpus]: the memory node of each possible CPU, -1 when it is not known."""
    nodes = np.full(max(possible_cpus(root)) + 1, -1, np.int16)
    for node in _directories(root):
        for cpu in node_cpus(root, node):
            if cpu < len(nodes):
                nodes[cpu] = node
    return nodes
