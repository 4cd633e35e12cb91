"""The namespaces of a process: which pids and cgroups it can see, and by which names (namespaces(7)).

In a container processes have other numbers than on the host, and cgroups are named from the root of the container.
"""

from __future__ import annotations

import os
from typing import Literal

from pghot.kernel.needs import Need
from pghot.kernel.process import running
from pghot.kernel.sysroot import SysRoot

# Inode numbers of the first ones of each kind (include/linux/proc_ns.h).
INITIAL = {"pid": "pid:[4026531836]", "cgroup": "cgroup:[4026531835]"}
Kind = Literal["pid", "cgroup"]


def namespace(root: SysRoot, kind: Kind, pid: int | str = "self") -> str:
    """What the kernel calls it, such as "pid:[4026531836]"; "" when it cannot be read."""
    try:
        return os.readlink(root.path(f"/proc/{pid}/ns/{kind}"))
    except OSError:
        return ""


def contained(root: SysRoot, kind: Kind) -> bool:
    """Whether we are in another one than the host's first processes; False when it cannot be told."""
    return namespace(root, kind) not in ("", INITIAL[kind])


def cgroup_names_need(root: SysRoot) -> Need:
    """Whether cgroups have the names here that the kernel gives them in debugfs and to DAMON: from the host's root."""
    what = "cgroups under the kernel's own names"
    if not contained(root, "cgroup"):
        return Need(what)
    return Need(
        what,
        "unsupported",
        "this is a container with a cgroup namespace of its own: the kernel names cgroups from the host's root there",
        "run pghot on the host, or in a container with the host's cgroup namespace (--cgroupns=host)",
    )


def member(root: SysRoot, pid_namespace: str) -> int | None:
    """A process of this pid namespace, None when we see none."""
    return next((pid for pid in running(root) if namespace(root, "pid", pid) == pid_namespace), None)


def notes(root: SysRoot) -> list[str]:
    """What a container keeps from us, in words."""
    said = []
    if contained(root, "pid"):
        said.append(
            "this is a container: programs outside of it cannot be tracked, pids are its own, and a pghot on the host "
            "is noticed only if both share /run/pghot"
        )
    if contained(root, "cgroup"):
        said.append("cgroups are named from the root of this container")
    return said
