"""Programs that run virtual machines with KVM: each maps a page of every virtual CPU (kvm_vcpu_mmap in
virt/kvm/kvm_main.c).

What a guest touches is faulted in by KVM, and by vhost for its devices, without a page fault of the program
(kvm_mmu_page_fault). So it reaches no perf event.
"""

from __future__ import annotations

import re

from pghot.kernel.maps import read_maps_text
from pghot.kernel.process import pids
from pghot.kernel.sysroot import SysRoot

# Of a file on a disk the name begins with a slash, whatever else is in it.
_CPU = re.compile(rb"^\S+ \S+ \S+ \S+ \d+ +anon_inode:kvm-vcpu", re.MULTILINE)


def runs_guest(maps: bytes) -> bool:
    """Whether the text of a program's maps shows a virtual CPU."""
    return _CPU.search(maps) is not None


def programs_with_guests(root: SysRoot) -> list[int]:
    """Pids of those on the whole machine whose maps this user can read."""
    found = []
    for pid in pids(root):
        try:
            if runs_guest(read_maps_text(root, pid)):
                found.append(pid)
        except OSError:
            continue
    return found
