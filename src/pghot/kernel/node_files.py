"""The files of /sys/devices/system/node (drivers/base/node.c), read so that an error names a damaged file."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pghot.errors import NotPermittedError, UnsupportedError
from pghot.kernel.cpus import parse_list, possible_cpus
from pghot.kernel.sysroot import SysRoot

NODES = "/sys/devices/system/node"


def read_list(root: SysRoot, name: str) -> tuple[int, ...]:
    """The numbers of a list such as "0-2,5", ascending; none when there is no such file.

    Raises `NotPermittedError` when the file may not be read, `UnsupportedError` when it holds something else.
    """
    try:
        text = root.read(name)
    except PermissionError:
        raise NotPermittedError(f"not permitted to read {name}", "run as root, outside the sandbox") from None
    except OSError:
        return ()
    try:
        return tuple(sorted(parse_list(text)))
    except ValueError:
        raise UnsupportedError(
            f"{name} is '{text[:40]}', not a list of numbers", "give --root a copy of /proc and /sys"
        ) from None


def read_number(root: SysRoot, name: str, base: int = 10) -> int | None:
    """The whole number in a file, None when it cannot be read or holds something else."""
    try:
        return int(root.read_or(name), base)
    except ValueError:
        return None


def node_of_cpu(root: SysRoot) -> npt.NDArray[np.int16]:
    """int16[cpus]: the memory node of each possible CPU, -1 when it is not known."""
    nodes = np.full(max(possible_cpus(root)) + 1, -1, np.int16)
    for entry in root.list(NODES):
        if entry.startswith("node") and entry[4:].isdigit():
            for cpu in parse_list(root.read_or(f"{NODES}/{entry}/cpulist")):
                if cpu < len(nodes):
                    nodes[cpu] = int(entry[4:])
    return nodes
