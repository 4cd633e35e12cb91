"""Copy the kernel files that pghot's topology and doctor read into a tree that `SysRoot` and --root take.

    python tests/captured/capture.py DIR [FROM]

Sizes stay small: of /proc/zoneinfo only the zones, of /proc/self/status only the capabilities, of memory blocks only
their names. Write-only and binary files become empty ones: that they exist is what matters.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

NODE = "sys/devices/system/node"
TEXTS = (
    "proc/sys/kernel/osrelease",
    "proc/sys/kernel/numa_balancing*",
    "proc/sys/kernel/perf_event_paranoid",
    f"{NODE}/possible", f"{NODE}/online", f"{NODE}/has_memory", f"{NODE}/has_cpu",
    f"{NODE}/node*/cpulist", f"{NODE}/node*/distance", f"{NODE}/node*/meminfo",
    f"{NODE}/node*/access*/initiators/*_latency", f"{NODE}/node*/access*/initiators/*_bandwidth",
    "sys/devices/system/memory/block_size_bytes",
    "sys/devices/system/cpu/possible",
    "sys/devices/virtual/memory_tiering/memory_tier*/nodelist",
    "sys/kernel/mm/numa/demotion_enabled",
    "sys/kernel/mm/mempolicy/weighted_interleave/*",
    "sys/kernel/mm/lru_gen/enabled",
    "sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds",
    "sys/module/damon_*/parameters/enabled",
    "sys/kernel/debug/sched/numa_balancing/*",
    "sys/fs/cgroup/cgroup.controllers",
    "sys/fs/cgroup/cpuset.mems.effective",
    "sys/bus/event_source/devices/*/type",
)  # fmt: skip
# Directories and files whose presence is all that counts.
PRESENT = (
    f"{NODE}/node*/access*/initiators/node*",
    f"{NODE}/node*/memory[0-9]*",
    "sys/kernel/mm/page_idle/bitmap",
    "sys/kernel/debug/lru_gen",
    "sys/fs/cgroup/cgroup.procs",
    "sys/fs/cgroup/memory.reclaim",
)  # fmt: skip


def put(target: Path, name: str, text: str) -> None:
    path = target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def zones(text: str) -> str:
    """The lines of zoneinfo up to each zone's sizes, without statistics and CPUs."""
    wanted = re.compile(r"Node |\s+pages free|\s+(boost|min|low|high|promo|spanned|present|managed) +\d+$")
    return "\n".join(line for line in text.splitlines() if wanted.match(line)) + "\n"


def capture(target: Path, source: Path = Path("/")) -> None:
    """Write the tree."""
    for pattern in TEXTS:
        for path in source.glob(pattern):
            try:
                put(target, str(path.relative_to(source)), path.read_text())
            except OSError as error:
                print(f"{path}: {error.strerror}", file=sys.stderr)
    for pattern in PRESENT:
        for path in source.glob(pattern):
            put(target, str(path.relative_to(source)), "")
    put(target, "proc/zoneinfo", zones((source / "proc/zoneinfo").read_text()))
    status = (source / "proc/self/status").read_text()
    put(target, "proc/self/status", "\n".join(re.findall(r"^CapEff:.*", status, re.MULTILINE)) + "\n")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    if os.path.exists(sys.argv[1]):
        sys.exit(f"{sys.argv[1]} exists; name a new directory")
    capture(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else "/"))
