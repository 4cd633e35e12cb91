"""Which programs are tracked: what the user named. `pghot.live.members` says which processes these are now."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pghot.errors import PghotError, UsageError
from pghot.kernel.cgroup import check_cgroup
from pghot.kernel.cgroup_patterns import cgroups_like, is_pattern
from pghot.kernel.maps import read_maps_text
from pghot.kernel.move_pages import query_nodes
from pghot.kernel.process import check_target, refused
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Programs that are not tracked although they fit: patterns of names and of cgroups, and users."""

    names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names or self.users or self.cgroups)


@dataclass(frozen=True, slots=True)
class Targets:
    """What the user named: processes by number, and programs by what they are.

    pids       are tracked as they are, with `children` if asked for
    cgroups    paths or patterns: their programs, and those of the cgroups below them
    names      patterns of names, `users` names or numbers: one of each kind must fit, of all programs when no cgroup
               is named
    min_bytes  so much of a program must be resident
    left_out   what is left out of the programs that fit, but not of the pids
    """

    pids: tuple[int, ...] = ()
    cgroups: tuple[str, ...] = ()
    children: bool = True
    names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    min_bytes: int = 0
    left_out: LeftOut = LeftOut()

    @property
    def judges(self) -> bool:
        """Whether programs are looked at one by one, beyond the cgroup that they are in."""
        return bool(self.names or self.users or self.min_bytes or self.left_out)

    @property
    def fits_some(self) -> bool:
        """Whether programs are chosen by what they are, so that others may fit later when none does now."""
        return bool(self.names or self.users or self.min_bytes) or any(map(is_pattern, self.cgroups))

    @property
    def whole_cgroups(self) -> tuple[str, ...]:
        """The cgroups, when they are named by their paths and every program in them is tracked; else none."""
        return () if self.judges or any(map(is_pattern, self.cgroups)) else self.cgroups

    @property
    def only_cgroup(self) -> str:
        """The one cgroup that holds everything, "" when there is none."""
        return self.whole_cgroups[0] if len(self.whole_cgroups) == 1 and not self.pids else ""

    def check(self, root: SysRoot) -> None:
        """Raise for a pid that is no program, for a cgroup or a user that does not exist, and where nothing is
        named."""
        if not self.pids and not self.cgroups and not self.fits_some:
            raise UsageError(
                "nothing to track", "name a command, -p PID, --cgroup PATH, --name, --user or --min-size"
            )
        for pid in self.pids:
            check_target(root, pid)
        for cgroup in (*self.cgroups, *self.left_out.cgroups):
            check_cgroup(root, "/" if is_pattern(cgroup) or cgroup in self.left_out.cgroups else cgroup)
        for user in (*self.users, *self.left_out.users):
            user_id(user)

    def troubles(self, root: SysRoot) -> Iterator[str]:
        """Each cgroup whose programs cannot be found now: why, and what to do. Raises `ShortageError`."""
        for named in self.cgroups:
            for cgroup in cgroups_like(root, named) if is_pattern(named) else [named]:
                try:
                    check_cgroup(root, cgroup)
                except ShortageError:
                    raise
                except PghotError as error:
                    yield f"{error}; {error.hint}"


def user_id(user: str) -> int:
    """The number of a user. Raises `UsageError` for a name that nobody has."""
    if user.isdigit():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise UsageError(f"no user '{user}'", "see `getent passwd`, or give the number") from None


def check_rights(root: SysRoot, pid: int) -> None:
    """Raise `NotPermittedError` for a process whose pages we may not look at."""
    if not root.live:
        return
    try:
        query_nodes(pid, np.zeros(1, np.uint64))
        read_maps_text(root, pid)
    except PermissionError as error:
        raise refused(pid, "look at the pages of", "CAP_SYS_PTRACE") from error
    except OSError:
        return  # it ended meanwhile
