"""Cgroups of which every program is tracked: there the kernel may demote, as its LRU knows cgroups, not programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pghot.kernel.cgroup import cgroup_members, cgroup_of, memory_cgroup_of
from pghot.kernel.sysroot import SysRoot


@dataclass(frozen=True, slots=True)
class WholeCgroups:
    """What the memory of the tracked programs is charged to.

    names    cgroups of which every program is tracked, as in /proc/PID/cgroup
    trouble  why others of their cgroups may not be asked to demote, and what to do; empty when there are none
    """

    names: tuple[str, ...] = ()
    trouble: str = ""


_REMEDY = "give the programs a cgroup of their own: systemd-run --scope"


def whole_cgroups(root: SysRoot, pids: Sequence[int]) -> WholeCgroups:
    """Look up the cgroups that the memory of these programs is charged to. pghot itself may be in them.

    Raises `UnsupportedError` without cgroup v2.
    """
    ours, names, trouble = {*pids, root.own_pid}, [], ""
    for name in dict.fromkeys(memory_cgroup_of(root, cgroup_of(root, pid)) for pid in pids):
        if not name:
            trouble = f"the kernel counts their memory in no cgroup but the root; {_REMEDY}"
        elif strangers := set(cgroup_members(root, name)) - ours:
            trouble = f"their cgroup {name} has {len(strangers)} more programs; {_REMEDY}"
        else:
            names.append(name)
    return WholeCgroups(tuple(names), trouble)
