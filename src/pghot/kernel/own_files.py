"""Whether an open file is the kernel's own: another may be mounted over it, which no look at its path would show."""

from __future__ import annotations

import ctypes
import errno
import os
import re

# include/uapi/linux/magic.h
_PROC, _SYSFS, _DEBUGFS, _CGROUP2 = 0x9FA0, 0x62656572, 0x64626720, 0x63677270
_STATFS_BYTES = 256  # more than struct statfs has on any machine; its first field is the type
_libc = ctypes.CDLL(None, use_errno=True)


def check_own(directory: int, fd: int) -> None:
    """Raise `OSError` for a descriptor that is no file of the kernel's, or not the one that belongs into its directory:
    a file of a disk, or another one of the kernel's, that was mounted there (mount(8), --bind)."""
    if _file_system(fd) not in (_PROC, _SYSFS, _DEBUGFS, _CGROUP2) or _mount(fd) != _mount(directory):
        raise OSError(errno.EXDEV, "another file is mounted over it")


def _file_system(fd: int) -> int:
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(fd, found):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return ctypes.c_long.from_buffer(found).value


def _mount(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}") as file:
        found = re.search(r"^mnt_id:\s*(\d+)$", file.read(), re.MULTILINE)
    return found[1] if found else ""
