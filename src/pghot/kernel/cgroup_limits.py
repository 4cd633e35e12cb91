"""What a cgroup v2 may use (Documentation/admin-guide/cgroup-v2.rst: memory and cpuset controllers)."""

from __future__ import annotations

from dataclasses import dataclass

from pghot.errors import UsageError
from pghot.kernel.node_files import read_list, read_number
from pghot.kernel.process import cgroup_path
from pghot.kernel.sysroot import SysRoot

_MOUNT = "/sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """Limits in force for a group: the least of its own and its ancestors'. None: no limit, or not told.

    max_bytes      hard limit, memory.max
    high_bytes     throttling above it, memory.high
    current_bytes  what the group uses now; None without the memory controller
    nodes          where its programs may have memory, cpuset.mems.effective; None without the cpuset controller
    """

    max_bytes: int | None
    high_bytes: int | None
    current_bytes: int | None
    nodes: tuple[int, ...] | None


def read_limits(root: SysRoot, path: str) -> CgroupLimits:
    """Limits of a cgroup; `path` as in /proc/PID/cgroup. Raises `UsageError` when there is no such group."""
    group = cgroup_path(path)
    if not root.exists(group):
        raise UsageError(f"no cgroup {path}", f"name a directory under {_MOUNT}")
    return CgroupLimits(
        _least(root, group, "memory.max"),
        _least(root, group, "memory.high"),
        read_number(root, f"{group}/memory.current"),
        _nodes(root, group),
    )


def _upwards(group: str) -> list[str]:
    """The group and its ancestors.

    >>> _upwards("/sys/fs/cgroup/a/b")
    ['/sys/fs/cgroup/a/b', '/sys/fs/cgroup/a', '/sys/fs/cgroup']
    """
    names = [name for name in group.removeprefix(_MOUNT).split("/") if name]
    return ["/".join([_MOUNT, *names[:depth]]) for depth in range(len(names), -1, -1)]


def _least(root: SysRoot, group: str, name: str) -> int | None:
    found = [read_number(root, f"{directory}/{name}") for directory in _upwards(group)]
    return min((limit for limit in found if limit is not None), default=None)


def _nodes(root: SysRoot, group: str) -> tuple[int, ...] | None:
    """The nearest ancestor with the controller decides."""
    for directory in _upwards(group):
        if nodes := read_list(root, f"{directory}/cpuset.mems.effective"):
            return nodes
    return None
