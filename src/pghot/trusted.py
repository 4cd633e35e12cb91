"""Places on disk that only this user and root can change. pghot runs what is kept there, or root acts on it.

An inherited HOME, XDG_CACHE_HOME, NUMBA_CACHE_DIR or TMPDIR may lead into another user's directory. Anyone who may
write to a directory on the path may replace what is in it. In a sticky directory such as /tmp, only the owner of a file
may replace it.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import grp
import os
import pwd
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MOST_LINKS = 40  # as the kernel (MAXSYMLINKS, include/linux/namei.h)


def distrust(path: Path, within: bool = False) -> str:
    """Why others could change what is at `path` (a file or a directory), in words; empty when they cannot.

    within  only what we create in that directory matters, so it may be sticky

    Raises `OSError` when nothing is there.

    >>> distrust(Path("/proc/sys"))
    ''
    """
    way = list(_way(path))
    for each, fact in way:
        if reason := distrust_entry(str(each), fact, sticky=within or each != way[-1][0]):
            return reason
    return ""


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All that is passed from the root to what is at `path`: directories, links, and where these lead in turn. That
    itself is the last, often twice."""
    at, links = Path("/"), 0
    yield at, at.lstat()
    waiting = [*reversed(path.absolute().parts[1:])]
    while waiting:
        if (part := waiting.pop()) == "..":
            at = at.parent
            continue
        fact = (at / part).lstat()
        yield at / part, fact
        if not stat.S_ISLNK(fact.st_mode):
            at /= part
            continue
        if (links := links + 1) > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = Path(os.readlink(at / part))
        at = Path("/") if target.is_absolute() else at
        waiting += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    yield at, at.lstat()


def distrust_entry(name: str, fact: os.stat_result, sticky: bool = False) -> str:
    """As `distrust`, for one file or directory alone. For a link, its target is not looked at.

    sticky  it may be a sticky directory, in which users can change only their own files
    """
    if fact.st_uid not in (0, os.geteuid()):
        return f"{name} belongs to another user (uid {fact.st_uid})"
    if stat.S_ISLNK(fact.st_mode) or (sticky and stat.S_ISDIR(fact.st_mode) and fact.st_mode & stat.S_ISVTX):
        return ""
    if fact.st_mode & stat.S_IWOTH or (fact.st_mode & stat.S_IWGRP and not _own_group(fact)):
        return f"others may write to {name} (mode {stat.S_IMODE(fact.st_mode):04o})"
    return ""


def _own_group(fact: os.stat_result) -> bool:
    """Whether this is a user's own group without other members; many distributions create one, with umask 002. Root
    has none.
    """
    try:
        group, user = grp.getgrgid(fact.st_gid), pwd.getpwuid(fact.st_uid)
    except KeyError:
        return False
    return fact.st_uid != 0 and group.gr_name == user.pw_name and not set(group.gr_mem) - {user.pw_name}


def make_directory(path: Path, mode: int = 0o700) -> None:
    """`mkdir -p`. Raises `OSError`; `NotADirectoryError` when something else has that name.

    mode  of all directories that are created; the umask can only restrict it further
    """
    for each in (*reversed(path.parents), path):
        with contextlib.suppress(FileExistsError):
            if not each.is_dir():
                each.mkdir(mode)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def private_directory(path: Path, mode: int = 0o700) -> str:
    """`distrust` of a directory, which is created if needed. Nothing is created where others could replace it.

    Raises `OSError`.
    """
    above = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if reason := distrust(above, within=above != path):
        return reason
    make_directory(path, mode)
    return distrust(path)


def temporary_place() -> str:
    """A place for temporary files that nobody else can replace: TMPDIR, unless others can change it; then /tmp."""
    chosen = tempfile.gettempdir()
    return "/tmp" if distrust(Path(chosen), within=True) else chosen


def fresh_directory(prefix: str) -> Path:
    """A directory for this process alone, removed when it ends."""
    place = tempfile.mkdtemp(prefix=prefix, dir=temporary_place())
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)


def instead_of_cache(path: Path, reason: str, prefix: str) -> Path:
    """A fresh directory to use in place of a cache that cannot be trusted; the user is told."""
    print(f"note: the cache {path} is not used: {reason}", file=sys.stderr)
    return fresh_directory(prefix)
