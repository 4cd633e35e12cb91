"""The tracked address spaces on a fake /proc: fork, exec, exit, reused pids, unmapping; and the ranking of pages."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.live_loop import START, FakeKernel, addresses, maps_line
from builders.machine_trees import put
from pghot.kernel.maps import MappingKind
from pghot.kernel.mempolicy import Policies
from pghot.live.hot import hottest
from pghot.live.machine import asking
from pghot.live.machine import spaces as spaces_module
from pghot.live.machine.kinds import ANON_ONLY
from pghot.live.machine.sections import ABSENT, FOREIGN, SECTION_PAGES, SECTION_SHIFT, SectionTable
from pghot.live.machine.spaces import Spaces

PID = 500
SECTION_BYTES = SECTION_PAGES * 4096
SHMEM = "00:01"  # where memfd and the like are, in a captured tree


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    made = FakeKernel(tmp_path)
    made.program(PID, [maps_line(START, 64)])
    return made


def look(spaces: Spaces, pid: int, address: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return spaces.lookup(np.full(len(address), pid, np.int32), address)


def sure(spaces: Spaces, pid: int, address: np.ndarray) -> np.ndarray:
    """Dense pages of addresses that are movable."""
    page, movable = look(spaces, pid, address)
    assert movable.all()
    return page


def skipped(spaces: Spaces) -> dict[str, int]:
    return {reason: count for reason, count in spaces.skipped.items() if count}


# ---- who is tracked


def test_the_first_refresh_adopts_and_the_next_changes_nothing(kernel: FakeKernel) -> None:
    spaces = Spaces(kernel.root, 4)
    assert spaces.refresh([PID]).any
    (space,) = spaces.spaces
    assert (space.number, space.pid, space.name) == (1, PID, "program")
    assert (space.start.tolist(), space.end.tolist()) == ([START], [START + 64 * 4096])
    again = spaces.refresh([PID])
    assert not again.any
    assert again.forgotten == []
    assert spaces.space(1) is space
    assert spaces.space(2) is None


def test_a_fork_is_another_space_with_pages_of_its_own(kernel: FakeKernel) -> None:
    spaces = Spaces(kernel.root, 4)
    spaces.refresh([PID])
    parent = sure(spaces, PID, addresses(0, 8))
    kernel.program(PID + 1, [maps_line(START, 64)], start_ticks=200)
    spaces.refresh([PID, PID + 1])
    child = sure(spaces, PID + 1, addresses(0, 8))
    assert not set(parent) & set(child)
    assert [space.number for space in spaces.spaces] == [1, 2]
    number, address = spaces.table.where(child)
    assert set(number) == {2}
    assert address.tolist() == addresses(0, 8).tolist()


@pytest.mark.parametrize("change", [{"code": 77}, {"start_ticks": 300}], ids=["exec", "reused pid"])
def test_an_exec_and_a_reused_pid_begin_anew(kernel: FakeKernel, change: dict[str, int]) -> None:
    spaces = Spaces(kernel.root, 4)
    spaces.refresh([PID])
    page = sure(spaces, PID, addresses(0, 8))
    spaces.pages.saw(page, np.ones(8, np.uint32))
    spaces.pages.put(page, 1)
    kernel.program(PID, [maps_line(START, 64)], comm="next", **change)  # type: ignore[arg-type]
    changes = spaces.refresh([PID])
    (space,) = spaces.spaces
    assert (space.number, space.name) == (2, "next")
    assert [part.stop - part.start for part in changes.forgotten] == [SECTION_PAGES]
    assert page[0] in range(changes.forgotten[0].start, changes.forgotten[0].stop)
    assert len(spaces.table) == 0
    fresh = sure(spaces, PID, addresses(0, 8))
    assert (spaces.pages.heats(fresh) == 0).all()
    assert (spaces.pages.place[fresh] == 255).all()


@pytest.mark.parametrize("how", ["exit", "zombie", "not wanted"])
def test_what_is_no_longer_tracked_gives_its_sections_back(kernel: FakeKernel, how: str) -> None:
    spaces = Spaces(kernel.root, 1)
    spaces.refresh([PID])
    sure(spaces, PID, addresses(0, 1))
    if how == "exit":
        kernel.exit(PID)
    elif how == "zombie":
        kernel.program(PID, [], state="Z")
    changes = spaces.refresh([] if how == "not wanted" else [PID])
    assert changes.any
    assert changes.forgotten == [slice(0, SECTION_PAGES)]
    assert spaces.spaces == ()
    assert not spaces.has_huge_pages(1)
    page, movable = look(spaces, PID, addresses(0, 1))
    assert page.tolist() == [FOREIGN]
    assert not movable.any()
    kernel.program(PID + 1, [maps_line(START, 8)])
    spaces.refresh([PID + 1])
    assert sure(spaces, PID + 1, addresses(0, 1)).tolist() == [0]


def test_kernel_threads_and_pids_that_are_not_are_left_out(kernel: FakeKernel) -> None:
    kernel.program(2, [], comm="kthreadd", flags=0x00200000)
    spaces = Spaces(kernel.root, 1)
    assert not spaces.refresh([2, 3]).any
    assert spaces.spaces == ()


def test_a_program_whose_maps_may_not_be_read_is_not_tracked(kernel: FakeKernel) -> None:
    (kernel.tree / f"proc/{PID}/maps").unlink()
    spaces = Spaces(kernel.root, 1)
    assert not spaces.refresh([PID]).any
    kernel.program(PID, [maps_line(START, 8)])
    spaces.refresh([PID])
    (kernel.tree / f"proc/{PID}/maps").unlink()
    assert not spaces.refresh([PID]).any  # as it was, until its stat says that it ended


def test_numbers_of_spaces_do_not_run_out(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spaces_module, "LAST_SPACE", 3)
    spaces = Spaces(kernel.root, 4)
    for start in range(10):
        kernel.program(PID, [maps_line(START, 8)], start_ticks=start)
        spaces.refresh([PID])
        assert len(sure(spaces, PID, addresses(0, 1))) == 1
    for pid in range(PID + 1, PID + 6):
        kernel.program(pid, [maps_line(START, 8)])
    spaces.refresh(range(PID, PID + 6))
    assert len(spaces.spaces) == 3  # all numbers are in use: the others are left out
    assert len({space.number for space in spaces.spaces}) == 3


# ---- mappings


def test_unmapped_pages_are_forgotten_and_may_come_back(kernel: FakeKernel) -> None:
    spaces = Spaces(kernel.root, 4)
    spaces.refresh([PID])
    page = sure(spaces, PID, addresses(0, 64))
    spaces.pages.saw(page, np.full(64, 9, np.uint32))
    kernel.program(PID, [maps_line(START, 10), maps_line(START + 20 * 4096, 44)])
    changes = spaces.refresh([PID])
    assert changes.any
    assert changes.forgotten == [slice(int(page[10]), int(page[20]))]
    heat = spaces.pages.heats(page)
    assert (heat[10:20] == 0).all()
    assert (np.delete(heat, range(10, 20)) == 9).all()
    assert [pair.tolist() for pair in (spaces.spaces[0].start, spaces.spaces[0].end)] == [
        [START, START + 20 * 4096],
        [START + 10 * 4096, START + 64 * 4096],
    ]
    _, movable = look(spaces, PID, addresses(8, 4))
    assert movable.tolist() == [True, True, False, False]
    assert skipped(spaces) == {"unmapped": 2}
    kernel.program(PID, [maps_line(START, 64)])
    assert spaces.refresh([PID]).forgotten == []
    assert sure(spaces, PID, addresses(10, 10)).tolist() == page[10:20].tolist()


def test_following_mappings_costs_what_changed(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sections in use: the same text is not read again, and a change in one section touches that one only."""
    work: list[object] = []

    def counted(name: str) -> None:
        real = getattr(spaces_module, name)

        def call(first: object, *rest: object) -> object:
            work.append(first if isinstance(first, int) else name)
            return real(first, *rest)

        monkeypatch.setattr(spaces_module, name, call)

    whole = maps_line(START, 3 * SECTION_PAGES)
    kernel.program(PID, [whole])
    spaces = Spaces(kernel.root, 4)
    spaces.refresh([PID])
    page = sure(spaces, PID, addresses(0, 3) + np.arange(3, dtype=np.uint64) * np.uint64(SECTION_BYTES))
    counted("parse_maps")
    counted("_kinds")
    assert not spaces.refresh([PID]).any
    assert work == []
    begin = START + SECTION_BYTES
    kernel.program(PID, [
        maps_line(START, SECTION_PAGES), maps_line(begin, 7, "rw-s"), maps_line(begin + 7 * 4096, 2 * SECTION_PAGES - 7)
    ])  # fmt: skip
    assert spaces.refresh([PID]).any
    assert work[0] == "parse_maps"
    # All three begin or end elsewhere than the one before: up to the end of the memory.
    assert sorted(work[1:]) == [START // SECTION_BYTES + i for i in range(3)]
    work.clear()
    kernel.program(PID, [
        maps_line(START, SECTION_PAGES), maps_line(begin, 7), maps_line(begin + 7 * 4096, 2 * SECTION_PAGES - 7)
    ])  # fmt: skip
    assert spaces.refresh([PID]).any
    assert work == ["parse_maps", START // SECTION_BYTES + 1]
    assert spaces.pages.kind[page].tolist() == [MappingKind.MOVABLE] * 3


def test_memory_that_is_bound_later_is_noticed_and_counted(kernel: FakeKernel) -> None:
    """mbind(2) of a whole mapping leaves maps as it was: the policy is asked for now and then."""
    spaces = Spaces(kernel.root, 1)
    spaces.refresh([PID])
    assert len(sure(spaces, PID, addresses(0, 64))) == 64
    put(kernel.tree, f"proc/{PID}/numa_maps", f"{START:x} bind=static:1 anon=64")
    changes = [spaces.refresh([PID]).any for _ in range(2 * spaces_module.ASK_EVERY)]
    assert changes.count(True) == 1
    _, movable = look(spaces, PID, addresses(0, 64))
    assert not movable.any()
    assert skipped(spaces) == {"bound": 64}
    assert spaces.bound_bytes() == 64 * 4096
    assert len(spaces.spaces[0].start) == 0  # sources need not watch it
    put(kernel.tree, f"proc/{PID}/numa_maps", f"{START:x} default anon=64")
    for _ in range(spaces_module.ASK_EVERY):
        spaces.refresh([PID])
    assert len(sure(spaces, PID, addresses(0, 64))) == 64
    assert spaces.unscanned_bytes() == 0
    put(kernel.tree, f"proc/{PID}/numa_maps", f"{START:x} interleave:0-1 anon=64")
    assert [spaces.refresh([PID]).any for _ in range(spaces_module.ASK_EVERY)].count(True) == 0
    assert spaces.unscanned_bytes() == 64 * 4096
    assert len(sure(spaces, PID, addresses(0, 64))) == 64, "it may be moved all the same"


def test_bound_memory_that_begins_elsewhere_is_asked_about_at_once(kernel: FakeKernel) -> None:
    put(kernel.tree, f"proc/{PID}/numa_maps", f"{START:x} bind:1 anon=64")
    spaces = Spaces(kernel.root, 1)
    for _ in range(spaces_module.ASK_EVERY):
        spaces.refresh([PID])
    kernel.program(PID, [maps_line(START + 8 * 4096, 56)])
    put(kernel.tree, f"proc/{PID}/numa_maps", f"{START + 8 * 4096:x} bind:1 anon=56")
    spaces.refresh([PID])
    assert not look(spaces, PID, addresses(8, 56))[1].any()


def test_what_is_dear_is_asked_for_a_hundredth_of_the_time(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three programs, each of which takes 0.2 s to ask: in turn, and in all 0.01 s for each refresh."""
    asked: list[int] = []
    clock = [0.0]

    def slow(root: object, pid: int) -> Policies:
        asked.append(pid)
        clock[0] += 0.2
        return Policies(np.empty(0, np.uint64), 0)

    pids = [PID, PID + 1, PID + 2]
    for pid in pids:
        kernel.program(pid, [maps_line(START, 64)])
    spaces = Spaces(kernel.root, 1)
    spaces.refresh(pids)
    monkeypatch.setattr(asking, "read_policies", slow)
    monkeypatch.setattr(asking.time, "perf_counter", lambda: clock[0])
    for _ in range(300):
        spaces.refresh(pids)
    assert clock[0] < 301 * spaces_module.ASK_S + 0.2  # the last one began within its time
    assert len(asked) >= 12
    assert max(map(asked.count, pids)) - min(map(asked.count, pids)) <= 1


def births(kernel: FakeKernel, fault: int = 0, collapse: int = 0) -> None:
    text = f"nr_free_pages 7\nthp_fault_alloc {fault}\nthp_collapse_alloc {collapse}\nthp_fault_fallback 3"
    put(kernel.tree, "proc/vmstat", text)


def test_large_folios_that_come_later_are_noticed_at_once(kernel: FakeKernel) -> None:
    """The machine says that somebody got some; who, is asked only now and then: it walks the page tables."""
    births(kernel)
    spaces = Spaces(kernel.root, 1)
    spaces.refresh([PID])
    assert not spaces.has_huge_pages(1)
    put(kernel.tree, f"proc/{PID}/smaps_rollup", "AnonHugePages:      2048 kB")
    assert not spaces.notice_folios()
    assert not spaces.has_huge_pages(1)
    births(kernel, collapse=1)
    assert spaces.notice_folios()
    assert spaces.has_huge_pages(1)
    for _ in range(2 * spaces_module.ASK_EVERY):
        spaces.refresh([PID])
    assert spaces.has_huge_pages(1)
    (kernel.tree / f"proc/{PID}/smaps_rollup").unlink()
    births(kernel, fault=9, collapse=1)
    assert spaces.notice_folios()
    for _ in range(2 * spaces_module.ASK_EVERY):
        spaces.refresh([PID])
    assert spaces.has_huge_pages(1)  # once is for good


def test_folios_of_somebody_else_are_a_guess_that_ends(kernel: FakeKernel) -> None:
    births(kernel)
    spaces = Spaces(kernel.root, 1)
    spaces.refresh([PID])
    assert not spaces.has_huge_pages(1)
    births(kernel, fault=1)
    spaces.notice_folios()
    assert spaces.has_huge_pages(1)
    for _ in range(spaces_module.ASK_EVERY):
        spaces.refresh([PID])
    assert not spaces.has_huge_pages(1)


THP = "sys/kernel/mm/transparent_hugepage"
ALWAYS_ON, NEVER = "[always] inherit madvise never", "always inherit madvise [never]"
INHERIT = "always [inherit] madvise never"


@pytest.mark.parametrize(
    "top, size, on",
    [("never", NEVER, False), ("always", NEVER, False), ("never", ALWAYS_ON, True), ("never", INHERIT, False),
     ("always", INHERIT, True), ("always", None, False)],
)  # fmt: skip
def test_sizes_below_2_mib_are_on_by_their_switch(
    kernel: FakeKernel, top: str, size: str | None, on: bool
) -> None:
    put(kernel.tree, f"{THP}/enabled", "always madvise never".replace(top, f"[{top}]"))
    put(kernel.tree, f"{THP}/hugepages-2048kB/enabled", ALWAYS_ON)
    put(kernel.tree, f"{THP}/hugepages-8kB/shmem_enabled", ALWAYS_ON)  # Linux 6.18: of shared memory only
    if size:
        put(kernel.tree, f"{THP}/hugepages-64kB/enabled", size)
    spaces = Spaces(kernel.root, 1)
    spaces.refresh([PID])
    assert spaces.has_huge_pages(1) == on


def test_a_size_that_is_switched_on_later_is_noticed(kernel: FakeKernel) -> None:
    put(kernel.tree, f"{THP}/hugepages-64kB/enabled", NEVER)
    spaces = Spaces(kernel.root, 1)
    spaces.refresh([PID])
    assert not spaces.has_huge_pages(1)
    put(kernel.tree, f"{THP}/hugepages-64kB/enabled", ALWAYS_ON)
    spaces.refresh([PID])
    assert spaces.has_huge_pages(1)


def test_a_section_without_mappings_is_given_back(kernel: FakeKernel) -> None:
    spaces = Spaces(kernel.root, 1)
    far = START + 5 * SECTION_BYTES
    spaces.refresh([PID])
    sure(spaces, PID, addresses(0, 1))
    kernel.program(PID, [maps_line(far, 8)])
    assert spaces.refresh([PID]).forgotten == [slice(0, SECTION_PAGES)]
    assert sure(spaces, PID, addresses(0, 1, far)).tolist() == [0]


def test_a_page_that_is_movable_no_more(kernel: FakeKernel) -> None:
    spaces = Spaces(kernel.root, 1)
    spaces.refresh([PID])
    sure(spaces, PID, addresses(0, 1))
    kernel.program(PID, [maps_line(START, 64, "rw-s", 9, "/dev/shm/x")])
    assert spaces.refresh([PID]).forgotten == []
    assert not look(spaces, PID, addresses(0, 1))[1].any()
    assert skipped(spaces) == {"file": 1}


def test_every_reason_is_counted_by_its_name(kernel: FakeKernel) -> None:
    lines, at = [], {}
    kinds = {
        "movable": ("rw-p", 0, ""),
        "file": ("r-xp", 7, "/usr/bin/x"),
        "shmem": ("rw-s", 7, "/memfd:x (deleted)"),
        "special": ("r-xp", 0, "[vdso]"),
        "hugetlb": ("rw-p", 7, "/anon_hugepage (deleted)"),
        "bound": ("rw-p", 0, "[anon:bound]"),
    }
    for i, (reason, (permissions, inode, name)) in enumerate(kinds.items()):
        at[reason] = START + 16 * i * 4096
        device = SHMEM if reason == "shmem" else "08:01"
        lines.append(maps_line(at[reason], 8, permissions, inode, name, device))
    kernel.program(PID, lines)
    put(kernel.tree, f"proc/{PID}/numa_maps", f"{at['bound']:x} bind:1 anon=8")
    spaces = Spaces(kernel.root, 1, ANON_ONLY)
    spaces.refresh([PID])
    sightings = [each for i, reason in enumerate(kinds) for each in addresses(0, i + 1, at[reason]).tolist()]
    sightings += addresses(8, 7, at["bound"]).tolist()  # in the gap behind the last mapping
    _, movable = look(spaces, PID, np.array(sightings, np.uint64))
    assert movable.sum() == 1
    look(spaces, PID + 1, addresses(0, 11))
    look(spaces, PID, addresses(0, 13, 1 << 63))
    look(spaces, PID, addresses(0, 17, START + 9 * SECTION_BYTES))
    assert skipped(spaces) == {
        "file": 2, "shmem": 3, "special": 4, "hugetlb": 5, "bound": 6, "unmapped": 7, "foreign": 11 + 13,
        "no_section": 17,
    }  # fmt: skip
    assert spaces.spaces[0].start.tolist() == [at["movable"]]  # what is bound is not watched either


def test_a_full_table_is_counted_and_nothing_else_suffers(kernel: FakeKernel) -> None:
    kernel.program(PID, [maps_line(START, 3 * SECTION_PAGES)])
    spaces = Spaces(kernel.root, 2)
    spaces.refresh([PID])
    for section in range(3):
        page, movable = look(spaces, PID, addresses(section * SECTION_PAGES, 5))
        assert movable.all() == (section < 2)
        assert (page == ABSENT).all() == (section == 2)
    assert skipped(spaces) == {"no_section": 5}
    assert spaces.table.in_use().tolist() == [0, 1]


# ---- any history


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 7)), max_size=25))
def test_sections_are_never_lost_and_pages_are_whose_they_seem(history: list[tuple[int, int, int]]) -> None:
    """Three pids that start, map, exec and exit in any order; each page's owner is checked after every step."""
    with tempfile.TemporaryDirectory() as place:
        kernel, start = FakeKernel(Path(place)), 0
        spaces = Spaces(kernel.root, 3)
        mapped: dict[int, set[int]] = {}
        for who, what, which in history:
            pid, start = PID + who, start + 1
            if what == 0:
                kernel.exit(pid)
                mapped.pop(pid, None)
            else:
                mapped[pid] = {section for section in range(3) if which >> section & 1}
                lines = [maps_line(START + section * SECTION_BYTES, 4) for section in sorted(mapped[pid])]
                kernel.program(pid, lines, start_ticks=who if what < 4 else start)
            changes = spaces.refresh(range(PID, PID + 3))
            for lost in changes.forgotten:
                assert not spaces.pages.heats(np.arange(lost.start, lost.stop, dtype=np.uint32)).any()
            check_owners(spaces, mapped)
        spaces.refresh([])
        assert len(spaces.table) == 0
        assert not spaces.pages.kind.any()


def check_owners(spaces: Spaces, mapped: dict[int, set[int]]) -> None:
    pids = {space.number: space.pid for space in spaces.spaces}
    assert sorted(pids.values()) == sorted(mapped)
    found = set()
    for pid in range(PID, PID + 3):
        for section in range(3):
            page, movable = look(spaces, pid, addresses(0, 1, START + section * SECTION_BYTES))
            if movable.any():
                assert section in mapped[pid]
                number, address = spaces.table.where(page)
                assert pids[int(number[0])] == pid
                assert int(address[0]) == START + section * SECTION_BYTES
                assert spaces.pages.kind[page[0]] == MappingKind.MOVABLE
                spaces.pages.saw(page, np.ones(1, np.uint32))
                found.add(int(page[0]) >> SECTION_SHIFT)
    assert len(found) == len(spaces.table) == min(3, sum(len(held) for held in mapped.values()))


# ---- the ranking


@pytest.fixture
def ranked(kernel: FakeKernel) -> Spaces:
    """Two programs; the sections of the first get their places in the table in the order 1, 0."""
    kernel.program(PID, [maps_line(START, 2 * SECTION_PAGES)])
    kernel.program(PID + 1, [maps_line(START + SECTION_BYTES, SECTION_PAGES)])
    spaces = Spaces(kernel.root, 4)
    spaces.refresh([PID, PID + 1])
    sure(spaces, PID, addresses(SECTION_PAGES, 1))
    sure(spaces, PID, addresses(0, 1))
    sure(spaces, PID + 1, addresses(SECTION_PAGES, 1))
    return spaces


def warm_up(spaces: Spaces, pid: int, first: int, heat: list[int], node: int = 1) -> None:
    page = sure(spaces, pid, addresses(first, len(heat)))
    spaces.pages.saw(page, np.array(heat, np.uint32))
    spaces.pages.put(page, node)


def reference(spaces: Spaces, by: str) -> list[tuple[int, int, int, int, int]]:
    """(pid, address, pages, node, heat) of all, by a walk over the addresses."""
    found: list[list[int]] = []
    for space in spaces.spaces:
        for i in range(2 * SECTION_PAGES):
            page = spaces.table.lookup(np.array([space.pid], np.int32), addresses(i, 1))[0]
            heat = int(spaces.pages.heats(page[None])[0]) if page < ABSENT else 0
            if not heat or spaces.pages.kind[page] != MappingKind.MOVABLE:
                continue
            address, node = START + i * 4096, int(spaces.pages.place[page])
            node = -1 if node == 255 else node
            last = found[-1] if found else [0, 0, 0, 0, 0]
            if (
                by == "region"
                and last[0] == space.pid
                and last[1] + last[2] * 4096 == address
                and last[3] == node
            ):
                last[2] += 1
                last[4] += heat
            else:
                found.append([space.pid, address, 1, node, heat])
    return sorted((tuple(row) for row in found), key=lambda row: (-row[4], row))  # type: ignore[misc, arg-type]


@pytest.mark.parametrize("by", ["page", "region"])
def test_the_ranking_is_that_of_a_plain_walk(ranked: Spaces, by: str) -> None:
    rng = np.random.default_rng(23)
    for pid, first in (
        (PID, 100),
        (PID, SECTION_PAGES - 3),
        (PID + 1, SECTION_PAGES),
        (PID, 2 * SECTION_PAGES - 6),
    ):
        warm_up(ranked, pid, first, rng.permutation(np.arange(6) * 2 ** rng.integers(0, 9)).tolist())
    warm_up(ranked, PID, 103, [1, 2], node=0)
    warm_up(ranked, PID, 110, [5], node=255)
    got = hottest(ranked, 1000, by)  # type: ignore[arg-type]
    rows = [
        tuple(int(part) for part in row)
        for row in zip(got.pid, got.address, got.pages, got.node, got.heat, strict=True)
    ]
    assert sorted(rows, key=lambda row: (-row[4], row)) == reference(ranked, by)
    assert [row[4] for row in rows] == sorted((row[4] for row in rows), reverse=True)


def test_regions_end_where_addresses_do(ranked: Spaces) -> None:
    """The last page of one section and the first of the next in the table are no neighbours in memory."""
    warm_up(ranked, PID, 2 * SECTION_PAGES - 1, [4])
    warm_up(ranked, PID, 0, [3])
    assert [row["bytes"] for row in hottest(ranked, 9).rows()] == [4096, 4096]
    warm_up(ranked, PID, SECTION_PAGES - 1, [7])
    warm_up(ranked, PID, SECTION_PAGES, [8])
    first = hottest(ranked, 1).rows()
    assert first == [
        {"pid": PID, "address": START + (SECTION_PAGES - 1) * 4096, "bytes": 8192, "node": 1, "heat": 15}
    ]


def test_regions_end_where_programs_do(ranked: Spaces) -> None:
    """One program's last hot page and the next one's first have neighbouring addresses."""
    warm_up(ranked, PID, SECTION_PAGES - 1, [7])
    warm_up(ranked, PID + 1, SECTION_PAGES, [8])
    rows = hottest(ranked, 9).rows()
    assert [(row["pid"], row["bytes"], row["heat"]) for row in rows] == [(PID + 1, 4096, 8), (PID, 4096, 7)]


def test_the_top_is_cut_and_an_empty_ranking_is_one_too(ranked: Spaces) -> None:
    assert len(hottest(ranked, 5)) == 0
    assert pa.ipc.open_stream(hottest(ranked, 5, "page").arrow()).read_all().num_rows == 0
    warm_up(ranked, PID, 0, [1, 9, 5])
    table = pa.ipc.open_stream(hottest(ranked, 2, "page").arrow()).read_all()
    assert table["heat"].to_pylist() == [9, 5]
    assert table["address"].to_pylist() == [START + 4096, START + 8192]


def test_a_pid_beyond_what_was_the_largest() -> None:
    """kernel.pid_max may be raised while a daemon runs."""
    table = SectionTable(4, 100)
    table.assign(7, 1)
    table.assign(5000, 2)
    number = int(START) >> 27
    slot = table.add(2, number)
    assert slot is not None
    pid = np.array([7, 5000, 5001, 4_000_000], np.int32)
    page = table.lookup(pid, np.full(4, START, np.uint64))
    assert page.tolist() == [ABSENT, slot << 15, FOREIGN, FOREIGN]
