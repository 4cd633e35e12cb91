"""Which processes the targets are now. Programs that come later are found, those that end are dropped.

On a host with a thousand programs, asking each of them who it is takes 25 ms (`/proc/PID/status`, Linux 6.18). So a
program is asked when it is new, once more at the next look, since it may be what a shell becomes by its exec, and then
at every tenth look, a tenth of the programs at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cached_property

from pghot.errors import UsageError
from pghot.kernel.cgroup import cgroup_members
from pghot.kernel.cgroup_patterns import cgroups_like
from pghot.kernel.process import descendants, running
from pghot.kernel.process_status import ProgramStatus, read_status
from pghot.kernel.sysroot import SysRoot
from pghot.live.targets import Targets, check_rights, user_id

ASK_EVERY = 10


class Look:
    """What is running at one time, read once for all that ask."""

    def __init__(self, root: SysRoot) -> None:
        self._root = root
        self._status: dict[int, ProgramStatus | None] = {}

    @cached_property
    def inodes(self) -> dict[int, int]:
        """As `running`, without ourselves."""
        return {pid: inode for pid, inode in running(self._root).items() if pid != self._root.own_pid}

    def status(self, pid: int) -> ProgramStatus | None:
        if pid not in self._status:
            self._status[pid] = read_status(self._root, pid)
        return self._status[pid]


class Members:
    """Looks the targets up, once for each refresh."""

    def __init__(self, root: SysRoot, targets: Targets) -> None:
        """Raises `UsageError` for a user that does not exist."""
        self._root, self._targets = root, targets
        self._users = {user_id(user) for user in targets.users}
        self._not_users = {user_id(user) for user in targets.left_out.users}
        self._looks = 0
        # Of each program that was looked at: the inode of its directory, the first look, and whether it fits.
        self._known: dict[int, tuple[int, int, bool]] = {}

    def now(self, look: Look | None = None) -> list[int]:
        """Pids now, each once. A cgroup that vanished has none."""
        targets, look = self._targets, look or Look(self._root)
        found = dict.fromkeys(targets.pids)
        if targets.children:
            for pid in targets.pids:
                found |= dict.fromkeys(descendants(self._root, pid))
        in_groups = self._in(targets.cgroups)
        if targets.judges:
            candidates = in_groups if targets.cgroups else look.inodes
            found |= dict.fromkeys(self._fitting([pid for pid in candidates if pid in look.inodes], look))
        else:
            found |= in_groups
        return list(found)

    def check(self) -> None:
        """Raise for what the targets name in vain, and for pids or a first program that are not ours to look at."""
        self._targets.check(self._root)
        for pid in self._targets.pids or self.now()[:1]:
            check_rights(self._root, pid)

    def _in(self, cgroups: Iterable[str]) -> dict[int, None]:
        found: dict[int, None] = {}
        for named in cgroups:
            for cgroup in cgroups_like(self._root, named):
                with contextlib.suppress(UsageError):  # it is gone, or threaded: `Targets.troubles` says so
                    found |= dict.fromkeys(cgroup_members(self._root, cgroup))
        return found

    def _fitting(self, pids: Iterable[int], look: Look) -> list[int]:
        """Those of these processes that fit."""
        self._looks += 1
        left_out = self._in(self._targets.left_out.cgroups)
        known: dict[int, tuple[int, int, bool]] = {}
        for pid in pids:
            inode = look.inodes[pid]
            was, first, fits = self._known.get(pid, (inode, self._looks, False))
            if was != inode:
                first, fits = self._looks, False
            if self._looks - first < 2 or pid % ASK_EVERY == self._looks % ASK_EVERY:
                status = look.status(pid)
                fits = status is not None and self._fits(status, fits)
            known[pid] = (inode, first, fits)
        self._known = known
        return [pid for pid, (_, _, fits) in self._known.items() if fits and pid not in left_out]

    def _fits(self, program: ProgramStatus, did: bool) -> bool:
        """A program that fitted may shrink to half of the size that is asked for: its heat would be forgotten."""
        targets = self._targets
        least = targets.min_bytes // 2 if did else targets.min_bytes
        return (
            program.resident_bytes >= least
            and (not targets.names or _named(program, targets.names))
            and (not targets.users or program.user in self._users)
            and not _named(program, targets.left_out.names)
            and program.user not in self._not_users
        )


def _named(program: ProgramStatus, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(program.name, pattern) for pattern in patterns)
