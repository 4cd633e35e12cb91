"""Which file systems mapped files lie in: shared memory, hugetlb, device nodes, or files (`/proc/PID/mountinfo`).

memfd, System V segments and shared anonymous memory lie in a tmpfs that the kernel mounts for itself (shm_mnt,
mm/shmem.c), and hugetlb memory without a file in others (fs/hugetlbfs/inode.c). These are in no list of mounts, so
pghot makes an empty file in each, and asks for its device.
"""

from __future__ import annotations

import errno
import os
import re
from enum import IntEnum

import numpy as np

from pghot.arrays import U8, U64
from pghot.kernel.hugetlb import HUGETLB_BYTES, pool_sizes
from pghot.kernel.maps import device_number
from pghot.kernel.sysroot import SysRoot

_MFD_HUGETLB, _MFD_HUGE_SHIFT = 4, 26  # include/uapi/linux/memfd.h
_MOUNT = re.compile(r"^\d+ \d+ (\d+):(\d+) .* - (\S+) \S+ ?(.*)$", re.MULTILINE)
# The first mount of every kernel (mnt_init, fs/namespace.c): of a captured tree nobody else can be asked.
_FIRST_MOUNT = device_number(0, 1)


class Memory(IntEnum):
    """What the pages of a file system's files are. HUGETLB are those of 2 MiB, OTHER_HUGETLB those of another size."""

    FILE = 0
    SHMEM = 1
    HUGETLB = 2
    DEVICE = 3
    OTHER_HUGETLB = 4


_MEMORY = {"tmpfs": Memory.SHMEM, "hugetlbfs": Memory.OTHER_HUGETLB, "devtmpfs": Memory.DEVICE}


class FileSystems:
    """Remembers what was asked once, for each mount namespace."""

    def __init__(self, root: SysRoot) -> None:
        self._root = root
        self._own = _mounts_without_a_name(root)
        self._known: dict[str, dict[int, Memory]] = {}

    def memory(self, pid: int, device: U64) -> U8:
        """uint8[K]: `Memory` of files on these devices (`Mappings.device`) that a process maps."""
        # Most mappings of a large program are of no file, or of the same as the one before.
        runs = np.flatnonzero(np.append(True, device[1:] != device[:-1])[: len(device)])
        which, back = np.unique(device[runs], return_inverse=True)
        known = self._known.setdefault(self._namespace(pid), dict(self._own))
        if not known.keys() >= set(which.tolist()):
            known |= dict.fromkeys(which.tolist(), Memory.FILE) | self._mounted(pid) | self._own
        kinds: U8 = np.array([known[each] for each in which.tolist()], np.uint8)[back]
        return np.repeat(kinds, np.diff(np.append(runs, len(device))))

    def _namespace(self, pid: int) -> str:
        try:
            return os.readlink(self._root.path(f"/proc/{pid}/ns/mnt"))
        except OSError:
            return ""

    def _mounted(self, pid: int) -> dict[int, Memory]:
        text = self._root.read_or(f"/proc/{pid}/mountinfo")
        return {
            device_number(int(major), int(minor)): _of_mount(kind, options)
            for major, minor, kind, options in _MOUNT.findall(text)
        }


def _of_mount(kind: str, options: str) -> Memory:
    """hugetlbfs says the size of its pages since Linux 4.11 (hugetlbfs_show_options, fs/hugetlbfs/inode.c)."""
    if kind == "hugetlbfs" and f"pagesize={HUGETLB_BYTES >> 20}M" in options.split(","):
        return Memory.HUGETLB
    return _MEMORY.get(kind, Memory.FILE)


def _mounts_without_a_name(root: SysRoot) -> dict[int, Memory]:
    if not root.live:
        return {_FIRST_MOUNT: Memory.SHMEM}
    flags = {0: Memory.SHMEM}
    for size in pool_sizes(root):
        memory = Memory.HUGETLB if size == HUGETLB_BYTES else Memory.OTHER_HUGETLB
        flags[_MFD_HUGETLB | (size.bit_length() - 1) << _MFD_HUGE_SHIFT] = memory
    return {device: memory for flag, memory in flags.items() if (device := _device_of(flag)) is not None}


def _device_of(flags: int) -> int | None:
    """The device of an empty file without a name; None where the kernel makes none such."""
    try:
        fd = os.memfd_create("pghot", flags | os.MFD_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return None
    try:
        device = os.fstat(fd).st_dev
        return device_number(os.major(device), os.minor(device))
    finally:
        os.close(fd)
