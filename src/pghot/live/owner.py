"""One pghot at a time changes a machine. Two would disarm each other: who ends first puts the knobs back, and a bit
that one clears is lost to the other.

The owner holds a lock on a file, which the kernel frees however it ends. Root's file is that of the machine. Another
user can change only what belongs to programs of that user, and has a file for that. Whoever only reads needs no lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import sys
from collections.abc import Iterator

from pghot.errors import NotPermittedError, PghotError, UsageError
from pghot.kernel.sysroot import SysRoot
from pghot.live.live_settings import LiveSettings
from pghot.live.runtime_place import runtime_place
from pghot.live.sources import LIVE_SOURCES
from pghot.trusted import distrust_entry, private_directory

FILE = "owner.lock"


def changes_machine(settings: LiveSettings) -> bool:
    """Whether such a run moves pages, sets knobs, or clears what others could read."""
    return (
        settings.apply
        or settings.mover.kind == "damos"
        or not all(LIVE_SOURCES.get(name).only_reads for name in settings.all_sources)
    )


class Owner:
    """What makes this process the owner. `take` as often as you like; `free` once."""

    def __init__(self, root: SysRoot) -> None:
        self._root, self._fd = root, -1

    def take(self) -> None:
        """Raises `PghotError` that names the owner when there is another."""
        if self._fd >= 0:
            return
        fd = _open(self._root)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            who = _owner(fd)
            os.close(fd)
            if error.errno != errno.EWOULDBLOCK:
                raise PghotError(
                    f"cannot lock {FILE}: {error.strerror}", "put it on a local file system"
                ) from None
            raise PghotError(
                f"{who} changes this machine already",
                "end it first; what only reads works beside it: `pghot status`, `hot`, `doctor`, a dry run of pebs",
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "command": sys.argv}).encode(), 0)
        self._fd = fd

    def free(self) -> None:
        """Let others have it. The file stays: who removed it could remove one that another has locked meanwhile."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@contextlib.contextmanager
def owned(root: SysRoot, wanted: bool = True) -> Iterator[Owner]:
    """Own the machine meanwhile, if that is `wanted` already. Raises as `Owner.take`."""
    owner = Owner(root)
    try:
        if wanted:
            owner.take()
        yield owner
    finally:
        owner.free()


def refuse_second(root: SysRoot, settings: LiveSettings) -> None:
    """Raise as `Owner.take` now, before a program is started in vain."""
    with owned(root, changes_machine(settings)):
        pass


def _open(root: SysRoot) -> int:
    path = runtime_place(root) / FILE
    try:
        reason = private_directory(path.parent, 0o755)
        if not reason:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
            if not (reason := distrust_entry(str(path), os.fstat(fd))):
                return fd
            os.close(fd)
    except PermissionError as error:
        raise NotPermittedError(
            f"cannot make the lock {path}: {error.strerror}", f"make {path.parent} yours"
        ) from None
    except OSError as error:
        raise PghotError(f"cannot make the lock {path}: {error.strerror}", f"see to {path.parent}") from None
    raise UsageError(f"no place for the lock of this machine: {reason}", f"make {path.parent} yours alone")


def _owner(fd: int) -> str:
    """Who wrote the file. It is empty for a moment after a new owner locked it."""
    try:
        facts = json.loads(os.pread(fd, 1 << 16, 0))
        return f"pghot {int(facts['pid'])} ({shlex.join(map(str, facts['command']))[:200]})"
    except (ValueError, TypeError, KeyError):
        return "another pghot"
