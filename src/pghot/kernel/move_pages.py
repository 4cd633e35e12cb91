"""move_pages(2): where pages are, and putting them on another node (mm/migrate.c)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

import numpy as np

from pghot.arrays import I32, U64
from pghot.errors import UnsupportedError

_SYSCALL = {"x86_64": 279, "aarch64": 239}
MPOL_MF_MOVE = 2  # only pages that no other process maps
MPOL_MF_MOVE_ALL = 4  # whoever maps them; needs CAP_SYS_NICE

_libc = ctypes.CDLL(None, use_errno=True)


def query_nodes(pid: int, address: U64) -> I32:
    """Node of each page, or a negative errno: -ENOENT not present, -EFAULT not mapped or the zero page.

    address  uint64[K]  bytes
    Raises `OSError`: ESRCH when the process is gone, EPERM when it is not this user's.
    """
    return _call(pid, address, None, MPOL_MF_MOVE)


def move_pages(pid: int, address: U64, node: I32, everyone: bool = False) -> I32:
    """Move pages as one batch; the status of each: the node it is on now, or a negative errno.

    address   uint64[K]  bytes, each page once
    node      int32[K]   where each should go
    everyone  pages that other processes map as well, too; else the status of these is -EACCES

    The status of a page that was not reached because the call gave up is -EBUSY. Raises `OSError` as `query_nodes`.
    """
    return _call(pid, address, node, MPOL_MF_MOVE_ALL if everyone else MPOL_MF_MOVE)


def _call(pid: int, address: U64, node: I32 | None, flags: int) -> I32:
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise UnsupportedError(
            f"move_pages: no system call number for {platform.machine()}", "report this machine"
        )
    address = np.ascontiguousarray(address, np.uint64)
    status = np.full(len(address), -errno.EBUSY, np.int32)
    if len(address) == 0:
        return status
    nodes = None if node is None else np.ascontiguousarray(node, np.int32)
    result = _libc.syscall(
        ctypes.c_long(number),
        ctypes.c_int(pid),
        ctypes.c_ulong(len(address)),
        ctypes.c_void_p(address.ctypes.data),
        ctypes.c_void_p(0 if nodes is None else nodes.ctypes.data),
        ctypes.c_void_p(status.ctypes.data),
        ctypes.c_int(flags),
    )
    # A positive result is the number of pages that were not moved (Linux >= 4.17); their status says so.
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return status
