"""A second user of a program's memory: what the kernel counts in `mm->mm_users`.

When a program has one thread, its memory one user, and a page is on the node that it runs on, the scanner for hint
faults leaves that page as it is, as balancing has nothing to gain there (change_pte_range, mm/mprotect.c, Linux 6.12).

A read of /proc/PID/pagemap is such a user until it returns, and it returns when the entry is in the reader's buffer
(pagemap_read, fs/proc/task_mmu.c). Here that buffer is a page that userfaultfd(2) never fills, so a thread of ours
waits in the read. It holds no lock, takes no time, touches no page of the program, and ends with this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import platform
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pghot.kernel.pagemap import open_pagemap
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES

_SYSCALL = {"x86_64": 323, "aarch64": 282}
# include/uapi/linux/userfaultfd.h
_API, _UFFDIO_API, _UFFDIO_REGISTER = 0xAA, 0xC018AA3F, 0xC020AA00
_REGISTER_MODE_MISSING = 1

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def held_mm(root: SysRoot, pid: int) -> Iterator[None]:
    """The program's memory has a user more.

    If the program ends, its memory is freed only afterwards. Raises `OSError`: it is gone, is not this user's, or
    userfaultfd is not for this user (CAP_SYS_PTRACE) or not in this kernel.
    """
    with contextlib.ExitStack() as opened:
        pagemap = open_pagemap(root, pid)
        opened.callback(os.close, pagemap)
        page = opened.enter_context(mmap.mmap(-1, PAGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        unfilled = _userfaultfd(page)
        reader = threading.Thread(target=_read, args=(pagemap, page), daemon=True, name=f"user of {pid}")
        with contextlib.ExitStack() as closed_first:
            closed_first.callback(os.close, unfilled)  # the read returns
            root.shortages.start(reader)
            opened.callback(reader.join)
            yield


def _read(pagemap: int, page: mmap.mmap) -> None:
    with contextlib.suppress(OSError):
        os.preadv(pagemap, [memoryview(page)[:8]], 0)


def _userfaultfd(page: mmap.mmap) -> int:
    """A descriptor: while it is open, whoever touches the page waits."""
    number = _SYSCALL.get(platform.machine(), -1)
    fd = int(_libc.syscall(ctypes.c_long(number), ctypes.c_int(os.O_CLOEXEC)))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    try:
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        fcntl.ioctl(fd, _UFFDIO_API, bytearray(struct.pack("QQQ", _API, 0, 0)))
        what = struct.pack("QQQQ", address, PAGE_BYTES, _REGISTER_MODE_MISSING, 0)
        fcntl.ioctl(fd, _UFFDIO_REGISTER, bytearray(what))
    except OSError:
        os.close(fd)
        raise
    return fd
