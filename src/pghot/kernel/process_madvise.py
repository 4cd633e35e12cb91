"""process_madvise(2): pages of another process into swap and back (mm/madvise.c).

MADV_PAGEOUT reclaims private anonymous pages, which puts them into swap; the kernel skips pages that others map
too, and refuses locked mappings (VM_LOCKED) with EINVAL. MADV_WILLNEED reads swapped pages into the swap cache, from
which the next access takes them. It does not map them: `touch` does, with process_vm_readv(2) (mm/process_vm_access.c).

Remote MADV_PAGEOUT came with Linux 5.10, MADV_WILLNEED with 5.16 (process_madvise_behavior_valid). The caller needs
CAP_SYS_NICE, and ptrace access to the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Callable

import numpy as np

from pghot.arrays import I32, U64
from pghot.errors import UnsupportedError
from pghot.units import PAGE_BYTES

# Hands iovecs (uint64[R, 2]) to the kernel: bytes taken, or a negative errno.
Call = Callable[[U64], int]

MADV_WILLNEED = 3  # include/uapi/asm-generic/mman-common.h
MADV_PAGEOUT = 21

_PIDFD_OPEN = 434  # both are the same everywhere: they came after the tables were unified
_PROCESS_MADVISE = 440
_PROCESS_VM_READV = {"x86_64": 310, "aarch64": 270}
_UIO_MAXIOV = 1024  # ranges in one call (include/uapi/linux/uio.h)
_TRIES = 3  # of a call that was interrupted or found something busy

_libc = ctypes.CDLL(None, use_errno=True)


def page_out(pid: int, address: U64) -> I32:
    """Put pages into swap. `status` of each (int32[K]): 0 asked for, or a negative errno of its range.

    address  uint64[K]  bytes, ascending, each page once

    0 does not mean that the page is in swap: the call says nothing about single pages, /proc/PID/pagemap does. Raises
    `OSError`: ESRCH when the process is gone, EPERM when it is not this user's.
    """
    return _advise(pid, address, MADV_PAGEOUT)


def will_need(pid: int, address: U64) -> I32:
    """Read swapped pages into the swap cache; as `page_out`."""
    return _advise(pid, address, MADV_WILLNEED)


def touch(pid: int, address: U64) -> int:
    """Map pages by reading one byte of each; returns how many could be read.

    The program's memory does not change. A page that cannot be read (unmapped, PROT_NONE) is left out. Raises
    `OSError` as `page_out`.
    """
    number = _PROCESS_VM_READV.get(platform.machine())
    if number is None:
        raise UnsupportedError(
            f"process_vm_readv: no system call number for {platform.machine()}", "report this machine"
        )
    done, read = 0, 0
    buffer = (ctypes.c_char * _UIO_MAXIOV)()
    while done < len(address):
        part = address[done : done + _UIO_MAXIOV]
        got = _read_bytes(number, pid, part, buffer)
        read += got
        done += got if got == len(part) else got + 1
    return read


def _read_bytes(number: int, pid: int, address: U64, buffer: ctypes.Array[ctypes.c_char]) -> int:
    """How many of these were read before the first that cannot be."""
    remote = iovecs(address, np.ones(len(address), np.uint64))
    local = iovecs(np.array([ctypes.addressof(buffer)], np.uint64), np.array([len(address)], np.uint64))
    got = _libc.syscall(
        ctypes.c_long(number), ctypes.c_int(pid),
        ctypes.c_void_p(local.ctypes.data), ctypes.c_ulong(1),
        ctypes.c_void_p(remote.ctypes.data), ctypes.c_ulong(len(remote)), ctypes.c_ulong(0),
    )  # fmt: skip
    if got >= 0:
        return int(got)
    error = ctypes.get_errno()
    if error == errno.EFAULT:
        return 0
    raise OSError(error, os.strerror(error))


def bring_back(pid: int, address: U64) -> None:
    """Read swapped pages in and map them. Those that cannot be read stay swapped. Raises `OSError` as `page_out`."""
    will_need(pid, address)
    touch(pid, address)


def ranges_of(address: U64) -> tuple[U64, U64]:
    """Start and length in bytes (both uint64[R]) of the runs of neighbouring pages.

    >>> ranges_of(np.array([4096, 8192, 65536], np.uint64))
    (array([ 4096, 65536], dtype=uint64), array([8192, 4096], dtype=uint64))
    """
    if len(address) == 0:
        return address, address
    first = np.concatenate(([0], np.flatnonzero(np.diff(address) != PAGE_BYTES) + 1))
    pages = np.diff(np.append(first, len(address)))
    return address[first], pages.astype(np.uint64) * np.uint64(PAGE_BYTES)


def iovecs(start: U64, length: U64) -> U64:
    """struct iovec[R] as uint64[R, 2]."""
    return np.ascontiguousarray(np.stack((start, length), axis=1))


def _advise(pid: int, address: U64, advice: int) -> I32:
    if len(address) == 0:
        return np.empty(0, np.int32)
    fd = _libc.syscall(ctypes.c_long(_PIDFD_OPEN), ctypes.c_int(pid), ctypes.c_uint(0))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    try:
        return advise_ranges(lambda vector: _call(fd, vector, advice), address)
    finally:
        os.close(fd)


def _call(fd: int, vector: U64, advice: int) -> int:
    """Bytes advised, or a negative errno."""
    done = _libc.syscall(
        ctypes.c_long(_PROCESS_MADVISE), ctypes.c_int(fd), ctypes.c_void_p(vector.ctypes.data),
        ctypes.c_ulong(len(vector)), ctypes.c_int(advice), ctypes.c_uint(0),
    )  # fmt: skip
    return int(done) if done >= 0 else -ctypes.get_errno()


def advise_ranges(call: Call, address: U64) -> I32:
    """Pass the runs of pages to `call`, as many as fit at once, and go on after each range that it refuses.

    call     takes uint64[R, 2] iovecs; returns the bytes of the leading ranges that it took, or a negative errno of
             the first (as the system call does)
    address  uint64[K]  bytes, ascending, each page once

    A refused range is cut in halves, to tell its locked or unmapped pages from the others. Returns the status of each
    page, 0 or a negative errno. Raises `OSError` for an errno that is about the process, not about a range.
    """
    start, length = ranges_of(address)
    waiting = list(zip(start.tolist(), length.tolist(), strict=True))[::-1]
    status = np.zeros(len(address), np.int32)
    tries = 0
    while waiting:
        part = waiting[: -_UIO_MAXIOV - 1 : -1]
        done = call(np.array(part, np.uint64))
        taken = _taken(part, done)
        del waiting[len(waiting) - taken :]
        if taken == len(part):
            continue
        if done in (-errno.EINTR, -errno.EAGAIN, 0) and (tries := tries + 1) < _TRIES:
            continue
        if done > 0:
            continue  # the next call begins with the refused range and says why
        tries = 0
        _refuse(waiting, status, address, done)
    return status


def _taken(part: list[tuple[int, int]], done: int) -> int:
    """How many of the leading ranges `done` bytes are."""
    lengths = np.cumsum([length for _, length in part])
    return int(np.searchsorted(lengths, done, side="right")) if done > 0 else 0


def _refuse(waiting: list[tuple[int, int]], status: I32, address: U64, error: int) -> None:
    """The last of `waiting` was refused: put its halves in its place, or remember why."""
    if error in (-errno.ESRCH, -errno.EPERM, -errno.EBADF, -errno.ENOSYS):
        raise OSError(-error, os.strerror(-error))
    start, length = waiting.pop()
    if length > PAGE_BYTES:
        half = length // PAGE_BYTES // 2 * PAGE_BYTES
        waiting += [(start + half, length - half), (start, half)]
        return
    status[np.searchsorted(address, np.uint64(start))] = error or -errno.EAGAIN
