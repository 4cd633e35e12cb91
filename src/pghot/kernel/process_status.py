"""`/proc/PID/status`: what a process is called, whose it is, and how much of its memory is there (proc(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pghot.kernel.sysroot import SysRoot

COMM_LENGTH = 15  # TASK_COMM_LEN less its NUL (include/linux/sched.h): longer names are cut
_NEEDED = re.compile(
    r"^(?:(Name):\t\s*(.*)|(Uid):\t[0-9]{1,10}\t([0-9]{1,10})\t.*|(VmRSS):\s*([0-9]{1,15}) kB)$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """A process that has memory.

    name            its command, also where the kernel keeps only the first 15 bytes
    user            effective user id
    resident_bytes  memory that is there, file pages and shared memory too (VmRSS)
    """

    name: str
    user: int
    resident_bytes: int


def read_status(root: SysRoot, pid: int) -> ProgramStatus | None:
    """None for a process that has ended, and for a kernel thread: they have no memory."""
    lines = (list(filter(None, groups)) for groups in _NEEDED.findall(_text(root, pid)))
    found = {line[0]: line[1] for line in lines if len(line) == 2}
    if not {"Name", "Uid", "VmRSS"} <= found.keys():
        return None
    return ProgramStatus(
        _whole_name(root, pid, found["Name"]),
        int(found["Uid"]),
        int(found["VmRSS"]) << 10,
    )


def _whole_name(root: SysRoot, pid: int, name: str) -> str:
    """A cut name is looked up in the command line, which begins with it unless the program has another title."""
    if len(name.encode("utf-8", "surrogateescape")) < COMM_LENGTH:
        return name
    command, _, _ = root.read_or(f"/proc/{pid}/cmdline").partition("\0")
    whole = command.rpartition("/")[2]
    return whole if whole.startswith(name) else name


def status_field(root: SysRoot, pid: int | str, name: str) -> str:
    """A line of the file without its name, "" when there is none."""
    match = re.search(rf"^{name}:\s*(\S+)$", _text(root, pid), re.MULTILINE)
    return match[1] if match else ""


def _text(root: SysRoot, pid: int | str) -> str:
    return root.read_or(f"/proc/{pid}/status")
