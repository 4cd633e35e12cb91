"""Pools of hugetlb pages: their sizes, and what is free on a node (mm/hugetlb.c)."""

from __future__ import annotations

import re

from pghot.kernel.node_files import NODES, read_number
from pghot.kernel.sysroot import SysRoot

HUGETLB_BYTES = 2 << 20  # of the pages that pghot moves
_POOLS = "/sys/kernel/mm/hugepages"
_POOL = f"hugepages-{HUGETLB_BYTES >> 10}kB"


def pool_sizes(root: SysRoot) -> list[int]:
    """Bytes of a page of each pool that the kernel has."""
    found = (re.fullmatch(r"hugepages-(\d+)kB", name) for name in root.list(_POOLS))
    return [int(kib[1]) << 10 for kib in found if kib]


def free_huge_pages(root: SysRoot, node: int) -> int:
    """How many pages of 2 MiB a move can take from the pool of a node, so that the pools stay as large as they are.

    None while all free pages, of all nodes, are promised to mappings. The kernel would then take ordinary memory for
    the move, make the pool of the node larger by that and the other one smaller (alloc_hugetlb_folio_nodemask and
    move_hugetlb_state, Linux 6.12).
    """
    free = read_number(root, f"{_POOLS}/{_POOL}/free_hugepages") or 0
    promised = read_number(root, f"{_POOLS}/{_POOL}/resv_hugepages") or 0
    if free <= promised:
        return 0
    return read_number(root, f"{NODES}/node{node}/hugepages/{_POOL}/free_hugepages") or 0
