"""Multi-gen LRU in debugfs (Documentation/admin-guide/mm/multigen_lru.rst): generations for each memcg and node.

memcg ID PATH
 node NODE
   GENERATION AGE_MS ANON_PAGES FILE_PAGES
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from pghot.errors import PghotError
from pghot.kernel.needs import Need
from pghot.kernel.sysroot import SysRoot

LRU_GEN = "/sys/kernel/debug/lru_gen"
ENABLED = "/sys/kernel/mm/lru_gen/enabled"


@dataclass(frozen=True, slots=True)
class Generation:
    """Pages of one memcg on one node that one ageing walk found young. A higher number is younger."""

    memcg: int
    path: str
    node: int
    number: int
    age_ms: int
    anon_pages: int
    file_pages: int


def parse_lru_gen(text: str) -> list[Generation]:
    """All generations. Raises `ValueError` for text of another form."""
    found: list[Generation] = []
    memcg, path, node = -1, "", -1
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "memcg":
            memcg, path = int(words[1]), words[2] if len(words) > 2 else "/"
        elif words[0] == "node":
            node = int(words[1])
        elif words[0].isdigit() and len(words) == 4 and memcg >= 0 and node >= 0:
            number, age_ms, anon, file = (max(0, int(word)) for word in words)
            found.append(Generation(memcg, path, node, number, age_ms, anon, file))
        elif not words[0].isdigit():
            raise ValueError(f"unknown line '{line}'")
    return found


def lru_gen_need(root: SysRoot) -> Need:
    """Whether generations can be read and commanded."""
    what = f"multi-gen LRU: {LRU_GEN}"
    if not root.exists(ENABLED):
        return Need(
            what, "unsupported", "the kernel has no multi-gen LRU", "a kernel with CONFIG_LRU_GEN=y (6.1)"
        )
    if root.read_or(ENABLED, "0x0000") == "0x0000":
        return Need(what, "unsupported", "the multi-gen LRU is switched off", f"echo y > {ENABLED}")
    if not root.exists(LRU_GEN):
        remedy = "run as root" if os.geteuid() else "mount -t debugfs none /sys/kernel/debug"
        return Need(what, "not permitted", f"{LRU_GEN} cannot be seen", remedy)
    if not root.writable(LRU_GEN):
        return Need(what, "not permitted", f"not permitted to write {LRU_GEN}", "run as root")
    return Need(what)


def read_lru_gen(root: SysRoot) -> list[Generation]:
    """The generations now. Raises `OSError`, `PghotError` for a form that this pghot does not know."""
    try:
        return parse_lru_gen(root.read(LRU_GEN))
    except ValueError as error:
        raise PghotError(f"{LRU_GEN}: {error}", "report it with the kernel's version") from None


def age(root: SysRoot, newest: Generation) -> None:
    """Make a younger generation: walk the page tables of its memcg and node. Raises `OSError`."""
    root.write(LRU_GEN, f"+ {newest.memcg} {newest.node} {newest.number}")


def evict(root: SysRoot, oldest: Generation, swappiness: int, pages: int) -> None:
    """Reclaim up to `pages` of a generation and older; with demotion enabled they go to the next lower tier.

    Raises `OSError`: EAGAIN when less could be reclaimed.
    """
    root.write(LRU_GEN, f"- {oldest.memcg} {oldest.node} {oldest.number} {swappiness} {pages}")
