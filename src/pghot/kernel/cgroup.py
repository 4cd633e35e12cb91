"""Cgroups v2: their processes, their memory, and what they may use (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

from dataclasses import dataclass

from pghot.errors import UnsupportedError, UsageError
from pghot.kernel.node_files import read_list, read_number
from pghot.kernel.process import pids_in
from pghot.kernel.sysroot import SysRoot

CGROUPS = "/sys/fs/cgroup"


def cgroup_members(root: SysRoot, path: str) -> list[int]:
    """Pids in a cgroup (v2) and the groups below it; `path` as in /proc/PID/cgroup or under /sys/fs/cgroup.

    Raises as `check_cgroup`.
    """
    check_cgroup(root, path)
    found, waiting = [], [cgroup_path(path)]
    while waiting:
        group = waiting.pop()
        found += pids_in(root.read_or(f"{group}/cgroup.procs"))
        waiting += [
            f"{group}/{entry}" for entry in root.list(group) if root.path(f"{group}/{entry}").is_dir()
        ]
    return sorted(pid for pid in found if pid)


def check_cgroup(root: SysRoot, path: str) -> None:
    """Raise for a cgroup that lists no processes.

    `UsageError` when there is no such group or it is threaded, `UnsupportedError` without cgroup v2. A threaded group
    holds threads only: reading its cgroup.procs fails (EOPNOTSUPP, cgroup_procs_start in kernel/cgroup/cgroup.c), and
    the memory of their programs is charged to the domain above it.
    """
    if not root.exists(f"{CGROUPS}/cgroup.procs"):
        raise UnsupportedError(f"no cgroup v2 at {CGROUPS}", cgroup2_remedy(root))
    group = cgroup_path(path)
    if not root.exists(f"{group}/cgroup.procs"):
        raise UsageError(f"no cgroup {path}", f"name a directory under {CGROUPS}")
    above = [each for each in _upwards(group) if root.read_or(f"{each}/cgroup.type") != "threaded"]
    if above[0] != group:
        domain = cgroup_name(above[0])
        raise UsageError(
            f"the cgroup {path} is threaded: it holds threads, but their memory belongs to the cgroup {domain}",
            f"name {domain}",
        )


def cgroup2_remedy(root: SysRoot) -> str:
    """How to get cgroup v2 at /sys/fs/cgroup. Mounting it over the v1 hierarchies would hide those from systemd."""
    if root.list(CGROUPS):
        return "cgroup v1 is mounted there: boot with systemd.unified_cgroup_hierarchy=1, or track pids"
    return f"mount it: mount -t cgroup2 none {CGROUPS}"


def cgroup_path(path: str) -> str:
    """The directory of a cgroup.

    >>> cgroup_path("/system.slice")
    '/sys/fs/cgroup/system.slice'
    >>> cgroup_path("/")
    '/sys/fs/cgroup'
    """
    return f"{CGROUPS}/{path.removeprefix(CGROUPS).strip('/')}".rstrip("/")


def cgroup_name(path: str) -> str:
    """A cgroup as the kernel names it.

    >>> cgroup_name("/sys/fs/cgroup/system.slice/")
    '/system.slice'
    """
    return "/" + cgroup_path(path).removeprefix(CGROUPS).strip("/")


def cgroup_inode(root: SysRoot, name: str) -> int:
    """The inode number of a cgroup, -1 when it does not exist. A later cgroup of the same name has another one."""
    try:
        return root.path(cgroup_path(name)).stat().st_ino
    except OSError:
        return -1


def memory_cgroups(root: SysRoot, path: str) -> list[str]:
    """Names ("/a/b") of the cgroups that memory is charged to: `path` and those below it.

    A group without the memory controller charges its memory to the nearest group above that has one. Raises
    `UsageError` when `path` itself lacks it, because its memory cannot be told apart from that of others. Empty when
    the group no longer exists.
    """
    top = cgroup_path(path)
    if not root.exists(top):
        return []
    if not root.exists(f"{top}/memory.current"):
        raise UsageError(
            f"the memory of the cgroup {path} is not counted on its own",
            f"echo +memory > {top.rpartition('/')[0]}/cgroup.subtree_control, before its programs start",
        )
    found, waiting = [], [top]
    while waiting:
        group = waiting.pop()
        if root.exists(f"{group}/memory.current"):
            found.append(group.removeprefix(CGROUPS))
            waiting += [
                f"{group}/{entry}" for entry in root.list(group) if root.path(f"{group}/{entry}").is_dir()
            ]
    return sorted(found)


def cgroup_of(root: SysRoot, pid: int) -> str:
    """The process's cgroup v2, "/" when it has none or it cannot be read."""
    for line in root.read_or(f"/proc/{pid}/cgroup").split("\n"):
        if line.startswith("0::"):
            return line[3:]
    return "/"


def memory_cgroup_of(root: SysRoot, name: str) -> str:
    """The nearest cgroup that memory is charged to: `name` ("/a/b") or one above it; "" when only the root is left."""
    for group in _upwards(cgroup_path(name))[:-1]:
        if root.exists(f"{group}/memory.current"):
            return group.removeprefix(CGROUPS)
    return ""


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """Limits in force for a group: the lowest of its own and its ancestors'. None: no limit, or not known.

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
        raise UsageError(f"no cgroup {path}", f"name a directory under {CGROUPS}")
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
    names = [name for name in group.removeprefix(CGROUPS).split("/") if name]
    return ["/".join([CGROUPS, *names[:depth]]) for depth in range(len(names), -1, -1)]


def _least(root: SysRoot, group: str, name: str) -> int | None:
    found = [read_number(root, f"{directory}/{name}") for directory in _upwards(group)]
    return min((limit for limit in found if limit is not None), default=None)


def _nodes(root: SysRoot, group: str) -> tuple[int, ...] | None:
    """The nearest ancestor with the controller decides."""
    for directory in _upwards(group):
        if nodes := read_list(root, f"{directory}/cpuset.mems.effective"):
            return nodes
    return None
