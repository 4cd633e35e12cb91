"""statx(2): when a file came to be, which tells it from a later one with the same inode number (fs/stat.c)."""

from __future__ import annotations

import ctypes
import os
import struct

from pghot.kernel.map_files import mapped_file
from pghot.kernel.sysroot import SysRoot

_AT_FDCWD, _STATX_BTIME = -100, 0x800
_MASK_AT, _BTIME_AT, _BYTES = 0, 80, 256  # struct statx, include/uapi/linux/stat.h
_libc = ctypes.CDLL(None, use_errno=True)


def born_ns(root: SysRoot, pid: int, start: int, end: int) -> int:
    """When the file behind a mapping [start, end) of a process came to be, in nanoseconds since 1970.

    0 when its file system does not know (9p, NFS; tmpfs before Linux 6.0), or this user may not ask.
    """
    path = os.fsencode(mapped_file(root, pid, start, end))
    found = ctypes.create_string_buffer(_BYTES)
    # glibc has it since 2.28, musl since 1.2.
    if _libc.statx(_AT_FDCWD, path, 0, ctypes.c_uint(_STATX_BTIME), found):
        return 0
    (mask,) = struct.unpack_from("=I", found, _MASK_AT)
    seconds, nanoseconds = struct.unpack_from("=qI", found, _BTIME_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds) if mask & _STATX_BTIME else 0
