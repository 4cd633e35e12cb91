"""The ioctl PROCMAP_QUERY on /proc/PID/maps: which mapping is at an address, without a look at all others.

Linux 6.11 and later (do_procmap_query in fs/proc/task_mmu.c). It is for a few of many: an answer takes some
microseconds with Python's part.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os

from pghot.arrays import U64
from pghot.kernel.maps import maps_path
from pghot.kernel.sysroot import SysRoot

# struct procmap_query (include/uapi/linux/fs.h).
_PROCMAP_QUERY = 0xC0686611
_READABLE, _WRITABLE, _EXECUTABLE, _SHARED = 1, 2, 4, 8
_NAME_BYTES = 4096  # PATH_MAX: the kernel takes no more


class _Query(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("size", "query_flags", "query_addr", "vma_start", "vma_end")),
        *((name, ctypes.c_uint64) for name in ("vma_flags", "vma_page_size", "vma_offset", "inode")),
        *((name, ctypes.c_uint32) for name in ("dev_major", "dev_minor", "vma_name_size", "build_id_size")),
        *((name, ctypes.c_uint64) for name in ("vma_name_addr", "build_id_addr")),
    ]


def mappings_at(root: SysRoot, pid: int, address: U64, most: int) -> bytes | None:
    """The lines that maps has for the mappings at these addresses (uint64[K] bytes, ascending).

    None: this kernel cannot tell, or it would take more than `most` questions. Raises `OSError`: gone, or not this
    user's; and `ShortageError`.
    """
    lines: list[bytes] = []
    end = asked = 0
    maps = root.open(maps_path(pid), os.O_RDONLY)
    try:
        for at in address.tolist():
            if at < end:
                continue
            if asked == most:
                return None
            asked += 1
            try:
                with root.asking():
                    line, end = _ask(maps, at)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    continue  # nothing is there
                if error.errno in (errno.ENOTTY, errno.EINVAL, errno.ENAMETOOLONG):
                    return None
                raise
            lines.append(line)
    finally:
        os.close(maps)
    return b"".join(lines)


def _ask(maps: int, address: int) -> tuple[bytes, int]:
    """The line of the mapping at an address, and where that ends."""
    name = ctypes.create_string_buffer(_NAME_BYTES)
    query = _Query(
        size=ctypes.sizeof(_Query),
        query_addr=address,
        vma_name_size=_NAME_BYTES,
        vma_name_addr=ctypes.addressof(name),
    )
    fcntl.ioctl(maps, _PROCMAP_QUERY, query)
    flags = query.vma_flags
    rights = b"".join(
        letter if flags & flag else other
        for flag, letter, other in (
            (_READABLE, b"r", b"-"),
            (_WRITABLE, b"w", b"-"),
            (_EXECUTABLE, b"x", b"-"),
            (_SHARED, b"s", b"p"),
        )
    )
    where = b"%x-%x" % (query.vma_start, query.vma_end)
    file = b"%08x %02x:%02x %d" % (query.vma_offset, query.dev_major, query.dev_minor, query.inode)
    # maps escapes newlines, this does not. Without a name the size is 0 and the buffer as it was.
    return b"%s %s %s %s\n" % (where, rights, file, name.value.replace(b"\n", b"\\012")), query.vma_end
