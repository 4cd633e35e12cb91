"""Pages that the kernel has marked for hint faults, after balancing was switched off."""

from __future__ import annotations

import time

from pghot.kernel.sysroot import SysRoot
from pghot.kernel.vmstat import vmstat

LOOK_S = 0.1
MOST_LOOKS = 20


def wait_until_touched(root: SysRoot) -> None:
    """Wait until hardly any hint faults come any more, two seconds at most.

    A marked page stays marked until it is touched, and keeps its mark when it moves. The fault may then have the kernel
    move it to the CPU that touched it, with balancing off as well (should_numa_migrate_memory(), kernel/sched/fair.c,
    Linux 6.12). On the CPU's own node the fault only takes the mark away: so what is in use is left there that long.
    """
    before = vmstat(root, "numa_hint_faults")
    for _ in range(MOST_LOOKS):
        time.sleep(LOOK_S)
        if (now := vmstat(root, "numa_hint_faults")) == before:
            return
        before = now
