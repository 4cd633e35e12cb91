"""Which processes are tracked: pids, a cgroup, or a command that pghot started, with or without children."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pghot.errors import UsageError
from pghot.kernel.move_pages import query_nodes
from pghot.kernel.process import cgroup_members, check_target, descendants, refused
from pghot.kernel.sysroot import SysRoot


@dataclass(frozen=True, slots=True)
class Targets:
    """What the user named. `members` looks it up anew each time."""

    pids: tuple[int, ...] = ()
    cgroup: str = ""
    children: bool = True

    def check(self, root: SysRoot) -> None:
        """Raise for a pid that is no program, is not ours, or a cgroup that does not exist."""
        if not self.pids and not self.cgroup:
            raise UsageError("nothing to track", "name a command, -p PID or --cgroup PATH")
        for pid in self.pids:
            check_target(root, pid)
            _check_rights(pid)
        if self.cgroup:
            for pid in cgroup_members(root, self.cgroup)[:1]:
                _check_rights(pid)

    def members(self, root: SysRoot) -> Sequence[int]:
        """Pids now. A cgroup that vanished has none."""
        found = dict.fromkeys(self.pids)
        if self.children:
            for pid in self.pids:
                found |= dict.fromkeys(descendants(root, pid))
        if self.cgroup:
            with contextlib.suppress(UsageError):
                found |= dict.fromkeys(cgroup_members(root, self.cgroup))
        return list(found)


def _check_rights(pid: int) -> None:
    try:
        query_nodes(pid, np.zeros(1, np.uint64))
    except PermissionError as error:
        raise refused(pid, "look at the pages of", "CAP_SYS_PTRACE and CAP_SYS_NICE") from error
    except OSError:
        return  # it ended meanwhile
