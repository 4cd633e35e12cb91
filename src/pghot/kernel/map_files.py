"""`/proc/PID/map_files`: the file behind each mapping, whatever became of its name. Links that need CAP_SYS_ADMIN or
CAP_CHECKPOINT_RESTORE to follow (proc_pid_get_link, fs/proc/base.c)."""

from __future__ import annotations

from pathlib import Path

from pghot.kernel.regular_file import open_regular
from pghot.kernel.sysroot import SysRoot


def mapped_file(root: SysRoot, pid: int, start: int, end: int) -> Path:
    """The link to the file that a process maps at [start, end), which is one whole mapping."""
    return root.path(f"/proc/{pid}/map_files/{start:x}-{end:x}")


def open_mapped(root: SysRoot, pid: int, start: int, end: int) -> int:
    """A descriptor of this file, to read from. Raises `OSError`, also when it is a device."""
    with root.asking():
        return open_regular(mapped_file(root, pid, start, end))
