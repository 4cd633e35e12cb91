"""Which processes are tracked: pids and cgroups, with or without their children."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pghot.errors import PghotError, UsageError
from pghot.kernel.cgroup import cgroup_members, check_cgroup
from pghot.kernel.maps import read_maps_text
from pghot.kernel.move_pages import query_nodes
from pghot.kernel.process import check_target, descendants, refused
from pghot.kernel.sysroot import SysRoot


@dataclass(frozen=True, slots=True)
class Targets:
    """What the user named. `members` looks up the processes each time."""

    pids: tuple[int, ...] = ()
    cgroups: tuple[str, ...] = ()
    children: bool = True

    @property
    def only_cgroup(self) -> str:
        """The one cgroup that holds everything, "" when there is none."""
        return self.cgroups[0] if len(self.cgroups) == 1 and not self.pids else ""

    def check(self, root: SysRoot) -> None:
        """Raise for a pid that is no program or is not ours, and for a cgroup that does not exist."""
        if not self.pids and not self.cgroups:
            raise UsageError("nothing to track", "name a command, -p PID or --cgroup PATH")
        for pid in self.pids:
            check_target(root, pid)
            _check_rights(root, pid)
        for cgroup in self.cgroups:
            for pid in cgroup_members(root, cgroup)[:1]:
                _check_rights(root, pid)

    def members(self, root: SysRoot) -> Sequence[int]:
        """Pids now. A cgroup that vanished has none."""
        found = dict.fromkeys(self.pids)
        if self.children:
            for pid in self.pids:
                found |= dict.fromkeys(descendants(root, pid))
        for cgroup in self.cgroups:
            with contextlib.suppress(UsageError):
                found |= dict.fromkeys(cgroup_members(root, cgroup))
        return list(found)

    def troubles(self, root: SysRoot) -> list[str]:
        """Each cgroup whose programs cannot be found now: why, and what to do."""
        found = []
        for cgroup in self.cgroups:
            try:
                check_cgroup(root, cgroup)
            except PghotError as error:
                found.append(f"{error}; {error.hint}")
        return found


def _check_rights(root: SysRoot, pid: int) -> None:
    if not root.live:
        return
    try:
        query_nodes(pid, np.zeros(1, np.uint64))
        read_maps_text(root, pid)
    except PermissionError as error:
        raise refused(pid, "look at the pages of", "CAP_SYS_PTRACE") from error
    except OSError:
        return  # it ended meanwhile
