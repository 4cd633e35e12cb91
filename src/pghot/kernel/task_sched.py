"""`/proc/PID/task/TID/sched`: what the scheduler says of a thread (kernel/sched/debug.c, Linux 6.12)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pghot.kernel.sysroot import SysRoot

_FAULTS = re.compile(r"^total_numa_faults\s*:\s*(\d+)", re.MULTILINE)
_RUNTIME = re.compile(r"^se\.sum_exec_runtime\s*:\s*([\d.]+)", re.MULTILINE)
_SCAN_SEQ = re.compile(r"^mm->numa_scan_seq\s*:\s*(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TaskSched:
    """Hint faults on the top tier (`total_numa_faults`), CPU time in ms, and passes of the scanner over the memory of
    the thread's process (`mm->numa_scan_seq`)."""

    numa_faults: int
    runtime_ms: float
    scan_seq: int


def read_sched(root: SysRoot, pid: int, thread: int) -> TaskSched | None:
    """None: the thread has ended, or this kernel does not tell."""
    text = root.read_or(f"/proc/{pid}/task/{thread}/sched")
    faults, runtime, seq = (each.search(text) for each in (_FAULTS, _RUNTIME, _SCAN_SEQ))
    if not (faults and runtime and seq):
        return None
    return TaskSched(int(faults[1]), float(runtime[1]), int(seq[1]))
