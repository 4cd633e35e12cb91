"""Multi-gen LRU in debugfs (Documentation/admin-guide/mm/multigen_lru.rst): generations for each memcg and node.

memcg ID PATH
 node NODE
   GENERATION AGE_MS ANON_PAGES FILE_PAGES
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pghot.errors import NotPermittedError, PghotError, UnsupportedError
from pghot.kernel.knob_files import DEMOTION_ENABLED
from pghot.kernel.namespaces import cgroup_names_need
from pghot.kernel.needs import Need, knob_need
from pghot.kernel.sysroot import SysRoot

LRU_GEN = "/sys/kernel/debug/lru_gen"
ENABLED = "/sys/kernel/mm/lru_gen/enabled"

# MIN_NR_GENS (include/linux/mmzone.h): so many of the youngest generations are "active" and never evicted.
ACTIVE_GENERATIONS = 2
_ANON_ONLY = 200  # swappiness


@dataclass(frozen=True, slots=True)
class Generation:
    """Pages of one memcg on one node that were last found accessed in one ageing walk.

    number    a higher one is younger
    active    one of the two youngest of its memcg and node: never evicted
    """

    memcg: int
    path: str
    node: int
    number: int
    age_ms: int
    anon_pages: int
    file_pages: int
    active: bool


REMOVED = 0  # the id of no memcg


def parse_lru_gen(text: str) -> list[Generation]:
    """All generations in ascending order, those of one memcg and node next to each other.

    Raises `ValueError` for text of another form.
    """
    found: list[Generation] = []
    memcg, path, node = -1, "", -1
    rows: list[tuple[int, int, int, int]] = []
    for line in [*text.split("\n"), "memcg 0 /"]:
        words = line.split()
        if not words:
            continue
        if words[0] in ("memcg", "node"):
            found += _generations(memcg, path, node, rows)
            rows = []
        if words[0] == "memcg" and len(words) > 2:
            # The path is the rest of the line: names of cgroups may contain spaces.
            memcg, path, node = int(words[1]), line.split(maxsplit=2)[2].removesuffix(" "), -1
        elif words[0] == "node" and len(words) == 2 and memcg >= 0:
            node = int(words[1])
        elif words[0].isdecimal() and len(words) == 4 and node >= 0:
            # The kernel shows -0 for a size that was never counted. Sizes lag behind and may be negative.
            number, age_ms, anon, file = (max(0, int(word)) for word in words)
            rows.append((number, age_ms, anon, file))
        else:
            raise ValueError(f"unknown line '{line}'")
    return found


def _generations(
    memcg: int, path: str, node: int, rows: Sequence[tuple[int, int, int, int]]
) -> Iterable[Generation]:
    rows = sorted(rows)
    for i, row in enumerate(rows):
        yield Generation(memcg, path, node, *row, active=i >= len(rows) - ACTIVE_GENERATIONS)


def lru_gen_need(root: SysRoot) -> Need:
    """Whether generations can be read and commanded."""
    what = f"multi-gen LRU: {LRU_GEN}"
    if not (names := cgroup_names_need(root)).met:
        return names
    if not root.exists(ENABLED):
        return Need(
            what, "unsupported", "the kernel has no multi-gen LRU", "a kernel with CONFIG_LRU_GEN=y (6.1)"
        )
    if root.read_or(ENABLED, "0x0000") == "0x0000":
        return Need(what, "unsupported", "the multi-gen LRU is switched off", f"echo y > {ENABLED}")
    if not root.exists(LRU_GEN):
        return Need(
            what, "not permitted", f"no {LRU_GEN}", "as root: mount -t debugfs none /sys/kernel/debug"
        )
    return knob_need(root, what, LRU_GEN, "a kernel with CONFIG_LRU_GEN=y (6.1)")


def read_lru_gen(root: SysRoot) -> list[Generation]:
    """The generations now. Raises `PghotError` when they cannot be read or have an unknown form.

    A cgroup that was removed stays listed under its old path while pages are charged to it. It has lost its id
    (mem_cgroup_id_put_many(), mm/memcontrol.c, Linux 6.12), so nothing can be asked of it: it is left out.
    """
    try:
        found = parse_lru_gen(root.read(LRU_GEN))
        return [each for each in found if each.memcg != REMOVED or each.path == "/"]
    except ValueError as error:
        raise PghotError(f"{LRU_GEN}: {error}", "report it with the kernel's version") from None
    except OSError as error:
        raise NotPermittedError(f"cannot read {LRU_GEN}: {error.strerror}", "run as root") from None


def memcg_path(cgroup: str, generations: Iterable[Generation]) -> str:
    """The memcg that a cgroup's memory is charged to: itself, or the nearest above it that has one.

    cgroup  as in /proc/PID/cgroup
    """
    known = {each.path for each in generations}
    path = cgroup
    while path not in known and path not in ("", "/"):
        path = path.rpartition("/")[0]
    return path or "/"


def age(root: SysRoot, newest: Generation) -> None:
    """Make a younger generation: walk the page tables of its memcg and move what was accessed there.

    The first 1 has anonymous pages walked even without swap, the second has all page tables walked: without them the
    kernel makes a generation but finds no accesses. Nothing happens when the kernel made a younger one meanwhile.
    Raises `OSError`: EINVAL, the memcg is gone.
    """
    root.write(LRU_GEN, f"+ {newest.memcg} {newest.node} {newest.number} 1 1")


def evict(root: SysRoot, oldest: Generation, swappiness: int, pages: int) -> None:
    """Reclaim up to `pages` of a generation and older ones; with demotion on they go to the next lower tier.

    swappiness  1 to 200, 200: anonymous pages only
    Raises `OSError`: EINVAL for an active generation.
    """
    root.write(LRU_GEN, f"- {oldest.memcg} {oldest.node} {oldest.number} {swappiness} {pages}")


def demote_oldest(root: SysRoot, paths: Iterable[str], node: int, pages: int) -> None:
    """Have the kernel demote up to `pages` of the oldest anonymous pages of these memcgs on a node.

    paths  of memcgs as in `Generation.path`, with all their processes
    The kernel works in batches of up to 64 pages, so it may stop a little early or late, and stops where only active
    generations are left. What it did is in pgdemote_direct of /proc/vmstat (Linux 7.3: pgdemote_proactive). Raises
    `UnsupportedError` when demotion is off: the pages would be swapped out instead.
    """
    if root.read_or(DEMOTION_ENABLED) not in ("true", "1"):
        raise UnsupportedError(
            f"{DEMOTION_ENABLED} is not on: pages would be swapped out", f"echo 1 > {DEMOTION_ENABLED}"
        )
    wanted = frozenset(paths)
    left = pages
    idle = [
        each
        for each in read_lru_gen(root)
        if each.path in wanted and each.node == node and not each.active and each.anon_pages
    ]
    for oldest in sorted(idle, key=lambda each: -each.age_ms):
        if left <= 0:
            break
        chunk = min(left, oldest.anon_pages)
        try:
            evict(root, oldest, _ANON_ONLY, chunk)
        except OSError:
            continue  # aged or gone meanwhile
        left -= chunk
