"""Hugetlb pages: which are tracked, how they move whole, and that no pool grows by what pghot does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builders.live_loop import (
    HUGE,
    START,
    FakeKernel,
    Page,
    addresses,
    install,
    maps_line,
    mover,
    seen,
    set_ages,
)
from builders.machine_trees import NODES, put
from pghot.kernel.hugetlb import free_huge_pages, pool_sizes
from pghot.live.journal_file import read_journal
from pghot.live.machine.kinds import BY_DEFAULT, Kinds
from pghot.live.machine.spaces import Spaces
from pghot.live.undo_files import put_files_back
from pghot.live.undone import Undone
from pghot.policies.live_rules import COLD_AGE

PID, OTHER = 500, 501
NAMED = Kinds.of(["anon", "hugetlb"])
POOL, GIGANTIC = "hugepages-2048kB", "hugepages-1048576kB"
FILE = "/huge/x"
MOUNTS = (
    "34 1 0:41 / /huge rw - hugetlbfs none rw,pagesize=2M\n35 1 0:42 / /large rw - hugetlbfs none rw,pagesize=1024M\n"
    "36 1 0:43 / /old rw - hugetlbfs none rw\n"
)
PAGES = 4 * HUGE


class PoolKernel(FakeKernel):
    """Moves a page of `FILE` whole, from pool to pool, when the first address in it is named; never without a free
    one."""

    def __init__(self, tree: Path, *free: int) -> None:
        super().__init__(tree, mib=64)
        self.pool = list(free)
        self.show_pools()

    def show_pools(self, promised: int = 0) -> None:
        put(self.tree, f"sys/kernel/mm/hugepages/{POOL}/free_hugepages", str(sum(self.pool)))
        put(self.tree, f"sys/kernel/mm/hugepages/{POOL}/resv_hugepages", str(promised))
        for node, free in enumerate(self.pool):
            put(self.tree, f"{NODES}/node{node}/hugepages/{POOL}/free_hugepages", str(free))

    def _move_one(self, key: Page, target: int) -> int:
        if key[0] != FILE:
            return super()._move_one(key, target)
        if self.node[key] == target:
            return target
        assert key[1] % HUGE == 0, "the first page stands for all"
        assert self.pool[target], "the kernel would make the pool larger"
        self.pool[target] -= 1
        self.pool[self.node[key]] += 1
        for i in range(HUGE):
            self._check_journal((FILE, key[1] + i))
            self.node[FILE, key[1] + i] = target
        self.show_pools()
        return target

    def places(self) -> list[int]:
        """Where each huge page is."""
        return [self.node[FILE, page] for page in range(0, PAGES, HUGE)]


def mapped(permissions: str = "rw-s", device: str = "00:29", name: str = FILE, start: int = START) -> str:
    return maps_line(start, PAGES, permissions, 9, name, device)


def pooled(
    tree: Path, monkeypatch: pytest.MonkeyPatch, *free: int, nodes: tuple[int, ...] = (1,) * 4
) -> PoolKernel:
    """A program that maps four huge pages, on these nodes."""
    kernel = PoolKernel(tree, *free)
    install(kernel, monkeypatch)
    put(tree, f"proc/{PID}/mountinfo", MOUNTS)
    kernel.program(PID, [mapped()])
    for i, node in enumerate(nodes):
        kernel.map_file(PID, FILE, i * HUGE, HUGE, START + i * HUGE * 4096, node)
    return kernel


def test_a_pool_with_promised_pages_has_none_to_give(tmp_path: Path) -> None:
    """Five free pages of which four are promised: what is free on a node can be had. With five promised nothing can."""
    kernel = PoolKernel(tmp_path, 3, 2)
    put(tmp_path, f"sys/kernel/mm/hugepages/{GIGANTIC}/free_hugepages", "7")
    assert sorted(pool_sizes(kernel.root)) == [2 << 20, 1 << 30]
    for promised, free in ((0, [3, 2, 0]), (4, [3, 2, 0]), (5, [0, 0, 0])):
        kernel.show_pools(promised)
        assert [free_huge_pages(kernel.root, node) for node in range(3)] == free


@pytest.mark.parametrize(
    ("line", "kinds", "reason"),
    [
        (mapped(), NAMED, None),
        (mapped(), BY_DEFAULT, "hugetlb"),
        (mapped("rw-p"), NAMED, "hugetlb"),
        (mapped(device="00:2a", name="/large/x"), NAMED, "hugetlb"),
        (mapped(device="00:2b", name="/old/x"), NAMED, "hugetlb"),
        (mapped("rw-p", name="/anon_hugepage (deleted)"), NAMED, None),
        (mapped("rw-s", name="/anon_hugepage (deleted)"), NAMED, None),
        (mapped("rw-s", name="/anon_hugepage (deleted)", device="00:77"), NAMED, "hugetlb"),
    ],
)
def test_what_is_tracked(tmp_path: Path, line: str, kinds: Kinds, reason: str | None) -> None:
    kernel = PoolKernel(tmp_path, 0, 0)
    put(tmp_path, f"proc/{PID}/mountinfo", MOUNTS)
    kernel.program(PID, [line])
    spaces = Spaces(kernel.root, 4, kinds)
    spaces.refresh([PID])
    _, movable = spaces.lookup(np.full(3, PID, np.int32), addresses(0, 3))
    assert movable.tolist() == [reason is None] * 3
    assert {why: count for why, count in spaces.skipped.items() if count} == ({reason: 3} if reason else {})
    left, ours = (0, PAGES << 12) if reason is None else (PAGES << 12, 0)
    assert (spaces.hugetlb_bytes(), spaces.objects.pooled_bytes()) == (left, ours)


def test_they_move_whole_and_count_with_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two were touched somewhere. The fast node itself is full, which is nothing to them."""
    kernel = pooled(tmp_path, monkeypatch, 4, 0)
    kernel.free[0] = 0
    kernel._show_free()
    with mover(kernel, kinds=NAMED) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(HUGE + 7, 5))
        page = np.append(page, seen(machine, spaces, PID, addresses(3 * HUGE + 511, 1)))
        assert len(machine.migrate(page, 0, "kmigrated").moved) == 6
        assert machine.counts.promoted == 2 * HUGE
        assert kernel.journal is not None
        (entry,) = read_journal(kernel.journal).files
    assert kernel.places() == [1, 0, 1, 0]
    assert [len(call) for call in kernel.moves] == [2]
    assert sorted(entry.origins()[0].tolist()) == [*addresses(HUGE, HUGE, 0), *addresses(3 * HUGE, HUGE, 0)]


def test_the_heat_is_the_first_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = pooled(tmp_path, monkeypatch, 4, 0)
    kernel.program(OTHER, [maps_line(START, 4)])
    with mover(kernel, kinds=NAMED) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(HUGE, 3))
        own = seen(machine, spaces, OTHER, addresses(1, 2))
        folded = machine.placement.folded(np.append(page, own))
        assert folded.tolist() == [page[0], page[0], page[0], *own]


@pytest.mark.parametrize("moved", [1, 2])
def test_the_rate_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int) -> None:
    """Half a second of 4 MiB/s is one page of 2 MiB."""
    kernel = pooled(tmp_path, monkeypatch, 4, 0)
    with mover(kernel, kinds=NAMED, rate_limit_mb_s=4.0 * moved) as (machine, spaces):
        machine.migrate(seen(machine, spaces, PID, addresses(0, PAGES)), 0, "kmigrated")
    assert kernel.places().count(0) == moved


@pytest.mark.parametrize("apply", [True, False])
def test_a_full_pool_is_counted_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apply: bool
) -> None:
    """One is free for three. Node 0 has no cold page of the pool to give in return, though it has others."""
    kernel = pooled(tmp_path, monkeypatch, 1, 0)
    kernel.program(OTHER, [maps_line(START, 64)])
    kernel.populate(OTHER, 0, 64, 0)
    with mover(kernel, kinds=NAMED, apply=apply) as (machine, spaces):
        set_ages(spaces, seen(machine, spaces, OTHER, addresses(0, 64)), [COLD_AGE] * 64)
        assert machine.pools.full_now() == []
        page = seen(machine, spaces, PID, addresses(0, 3 * HUGE))
        machine.migrate(page, 0, "kmigrated")
        assert machine.counts.promoted == HUGE
        assert machine.pools.refused == 2 * HUGE
        assert machine.pools.full_now() == [0]
        kernel.pool[0] = 3
        kernel.show_pools()
        assert machine.pools.full_now() == []
    assert kernel.places().count(0) == (1 if apply else 0)
    assert kernel.nodes_of(OTHER, addresses(0, 64)) == [0] * 64


def test_a_cold_one_makes_room_for_a_hot_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = pooled(tmp_path, monkeypatch, 0, 1, nodes=(0, 0, 1, 1))
    with mover(kernel, kinds=NAMED) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, PAGES))
        set_ages(spaces, page[:HUGE], [COLD_AGE] * HUGE)
        machine.migrate(page[2 * HUGE : 3 * HUGE], 0, "kmigrated")
        assert (machine.counts.promoted, machine.counts.demoted) == (HUGE, HUGE)
    assert kernel.places() == [1, 0, 0, 1]


def test_undo_goes_through_whoever_has_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first program has ended. The second maps the last two pages, elsewhere, and has touched one of them."""
    kernel = pooled(tmp_path, monkeypatch, 4, 0)
    elsewhere = START + (3 << 30)
    put(tmp_path, f"proc/{OTHER}/mountinfo", MOUNTS)
    kernel.program(OTHER, [maps_line(elsewhere, 2 * HUGE, "rw-s", 9, FILE, "00:29", 2 * HUGE * 4096)])
    kernel.map_file(OTHER, FILE, 3 * HUGE, HUGE, elsewhere + HUGE * 4096, 1)
    for name in ("query_nodes", "move_pages"):
        monkeypatch.setattr(f"pghot.live.undo_files.{name}", getattr(kernel, name))
    with mover(kernel, kinds=NAMED, pids=[PID]) as (machine, spaces):
        machine.migrate(seen(machine, spaces, PID, addresses(0, PAGES)), 0, "kmigrated")
        assert kernel.places() == [0] * 4
        assert kernel.journal is not None
        files = read_journal(kernel.journal).files
    kernel.exit(PID)
    result = Undone()
    put_files_back(kernel.root, files, result)
    assert kernel.places() == [0, 0, 0, 1]
    assert (result.pages_back, result.pages_gone, result.pages_left) == (HUGE, 3 * HUGE, {})
    kernel.exit(OTHER)
    put_files_back(kernel.root, files, result)
    assert (result.processes_gone, result.files_gone) == ([], [FILE])


def test_after_a_fork_private_ones_stay(tmp_path: Path) -> None:
    """Each program comes to have pages of its own at the same place of the same file. When one has ended they move."""
    kernel = PoolKernel(tmp_path, 4, 0)
    put(tmp_path, f"proc/{PID}/mountinfo", MOUNTS)
    line = mapped("rw-p", name="/anon_hugepage (deleted)")
    kernel.program(PID, [line])
    spaces = Spaces(kernel.root, 4, NAMED)

    def movable(*pids: int) -> bool:
        spaces.refresh(pids)
        return bool(spaces.lookup(np.array([PID], np.int32), addresses(5, 1))[1][0])

    assert movable(PID)
    put(tmp_path, f"proc/{OTHER}/mountinfo", MOUNTS)
    kernel.program(OTHER, [line])
    assert not movable(PID, OTHER)
    assert spaces.skipped["shared"] == 1
    kernel.exit(OTHER)
    assert movable(PID)
