"""Compressed swap as a tier: what goes there, what comes back, what is refused, and how undo puts it back."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.live_loop import START, addresses, maps_line, register, seen
from builders.machine_trees import Node, machine, put
from builders.swap import (
    NO_RIGHTS,
    SwapKernel,
    can_swap,
    compressing,
    install_swap,
    pass_time,
    swaps,
)
from pghot.errors import NotPermittedError, UnsupportedError, UsageError
from pghot.kernel.needs import require
from pghot.kernel.process_madvise import advise_ranges, ranges_of, touch
from pghot.kernel.sysroot import SysRoot
from pghot.live.journal_file import read_journal
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.sources.access_source import sightings_of
from pghot.live.status import status
from pghot.live.swap_tier.swap_space import compressed_needs, find_compressed_swap
from pghot.live.targets import Targets
from pghot.live.undo import undo

PID = 500
PAGES = 512
DISK, ZRAM = "/dev/sda2", "/dev/zram0"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SwapKernel:
    """One program with 2 MiB on the slow node."""
    made = SwapKernel(tmp_path)
    made.program(PID, [maps_line(START, PAGES)])
    made.populate(PID, 0, PAGES, 1)
    made.show_pagemap(PID)
    install_swap(made, monkeypatch)
    return made


def out_pages(kernel: SwapKernel) -> list[int]:
    return sorted((address - START) // 4096 for _, address in kernel.out)


def keys(first: int, pages: int) -> set[tuple[int, int]]:
    return {(PID, address) for address in addresses(first, pages).tolist()}


# ---- out


def test_what_nobody_sees_goes_out_and_what_is_seen_stays(kernel: SwapKernel) -> None:
    """The fake kernel lets no page go that the journal does not know."""
    with compressing(kernel) as (machine_, spaces):
        now = 10.0
        for _ in range(6):
            seen(machine_, spaces, PID, addresses(0, 100))
            now = pass_time(machine_, 1.0, now)
        assert out_pages(kernel) == list(range(100, PAGES))
        assert machine_.counts.compressed == machine_.counts.demoted == PAGES - 100


def test_nothing_goes_before_it_was_watched_for_long_enough(kernel: SwapKernel) -> None:
    with compressing(kernel, cold_after_s=20.0) as (machine_, _):
        now = pass_time(machine_, 18.0)
        assert kernel.out == {}
        pass_time(machine_, 4.0, now)
        assert len(kernel.out) == PAGES


def test_a_dry_run_counts_each_page_once_and_moves_none(kernel: SwapKernel) -> None:
    with compressing(kernel, apply=False) as (machine_, _):
        pass_time(machine_, 20.0)
        assert kernel.out == {}
        assert machine_.counts.compressed == PAGES
        assert machine_.counts.promoted == 0


def test_the_rate_is_held(kernel: SwapKernel) -> None:
    """16 pages a second; what the bucket saved up before there was anything to do is half a second's worth."""
    with compressing(kernel, rate_limit_mb_s=0.0625) as (machine_, _):
        now = pass_time(machine_, 4.5)
        before = len(kernel.out)
        pass_time(machine_, 10.0, now)
        assert 150 <= len(kernel.out) - before <= 170


def test_swap_is_not_filled_beyond_its_floor(kernel: SwapKernel) -> None:
    kernel.swap_pages = 1024
    kernel._show_swap()
    kernel.populate(PID, PAGES, 1024, 1)
    kernel.program(PID, [maps_line(START, PAGES + 1024)])
    kernel.show_pagemap(PID)
    with compressing(kernel) as (machine_, _):
        pass_time(machine_, 20.0)
    floor = 1024 * 5 // 100
    assert floor <= 1024 - len(kernel.out) <= floor + machine_.nodes.drift_pages + 1


def test_locked_pages_are_counted_once_and_left(kernel: SwapKernel) -> None:
    kernel.locked = keys(50, 7)
    with compressing(kernel) as (machine_, _):
        now = pass_time(machine_, 8.0)
        asked = len(kernel.advised)
        pass_time(machine_, 8.0, now)
        assert len(kernel.advised) == asked
        assert machine_.counts.locked == 7
        assert machine_.counts.status == {"EINVAL": 7}
    assert len(kernel.out) == PAGES - 7


def test_pages_passed_over_are_tried_three_times(kernel: SwapKernel) -> None:
    kernel.passed_over = keys(0, 5)
    with compressing(kernel) as (machine_, spaces):
        pass_time(machine_, 20.0)
        assert machine_.counts.status == {"EBUSY": 15}
        page = seen(machine_, spaces, PID, addresses(0, 5))
        assert len(machine_.migrate(page, 0, "kmigrated").moved) == 5, "promotion is another matter"


# ---- back


def test_hot_pages_come_back_to_the_fast_node(kernel: SwapKernel) -> None:
    with compressing(kernel) as (machine_, spaces):
        pass_time(machine_, 8.0)
        page = seen(machine_, spaces, PID, addresses(64, 16))
        assert (machine_.place[page] == 2).all()
        moves = machine_.migrate(page, 0, "kmigrated")
        assert sorted(moves.moved) == sorted(page)
        assert set(kernel.nodes_of(PID, addresses(64, 16))) == {0}
        assert (machine_.counts.fetched, machine_.faulted) == (16, 0)
        assert len(kernel.out) == PAGES - 16


def test_what_came_back_stays_for_a_minute(kernel: SwapKernel) -> None:
    """By a fault of its own, which the scan of pagemap finds, or fetched."""
    with compressing(kernel) as (machine_, _):
        now = pass_time(machine_, 8.0)
        for key in keys(0, 20):
            kernel.touch(key)
            kernel.node[key] = 1
        kernel.show_pagemap(PID)
        now = pass_time(machine_, 50.0, now)
        assert out_pages(kernel) == list(range(20, PAGES))
        assert machine_.faulted == 20
        pass_time(machine_, 14.0, now)
        assert len(kernel.out) == PAGES


def test_less_goes_out_while_it_comes_back(kernel: SwapKernel) -> None:
    with compressing(kernel) as (machine_, _):
        guard = machine_.compressing.guard  # type: ignore[union-attr]
        for second in range(1, 20):
            machine_.compressing.act(  # type: ignore[union-attr]
                (10 + second) * 10**9, 100 * second, 100 * second
            )
        assert guard.share < 1


# ---- undo


def test_undo_brings_everything_back_to_its_node(kernel: SwapKernel) -> None:
    with compressing(kernel) as (machine_, spaces):
        pass_time(machine_, 8.0)
        machine_.migrate(seen(machine_, spaces, PID, addresses(0, 16)), 0, "kmigrated")
    journal = read_journal(kernel.tree / "j.pghot-journal")
    assert journal.compressed
    result = undo(journal, kernel.root)
    assert kernel.out == {}
    assert set(kernel.nodes_of(PID, addresses(0, PAGES))) == {1}
    assert (result.pages_back, result.pages_gone, result.pages_left) == (PAGES, 0, {})


def test_undo_stops_where_memory_is_short_and_counts_what_is_left(kernel: SwapKernel) -> None:
    with compressing(kernel) as (machine_, _):
        pass_time(machine_, 8.0)
    put(kernel.tree, "proc/meminfo", "MemTotal: 131072 kB\nMemAvailable: 100 kB")
    result = undo(read_journal(kernel.tree / "j.pghot-journal"), kernel.root)
    assert len(kernel.out) == PAGES
    assert list(result.pages_left.values()) == [PAGES]
    assert not result.complete


def test_what_was_in_swap_before_has_no_origin(kernel: SwapKernel) -> None:
    before = dict.fromkeys(keys(0, 9), 1)
    kernel.out |= before
    for key in before:
        del kernel.node[key]
    kernel._show_swap()
    with compressing(kernel) as (machine_, spaces):
        assert (machine_.place[seen(machine_, spaces, PID, addresses(0, 9))] == 2).all()
    (entry,) = read_journal(kernel.tree / "j.pghot-journal").spaces
    assert len(entry.origins()[0]) == PAGES - 9


# ---- what swap there is


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    machine(tmp_path, Node(0, "10", "0", 1024, 4))
    can_swap(tmp_path)
    put(tmp_path, "proc/meminfo", "MemTotal: 1048576 kB\nZswap: 4096 kB\nZswapped: 16384 kB")
    put(tmp_path, "sys/block/zram0/mm_stat", "8192 2048 4096 0 4096 0 0 0 0")
    return tmp_path


def enable_zswap(tree: Path) -> None:
    put(tree, "sys/module/zswap/parameters/enabled", "Y")
    put(tree, "sys/module/zswap/parameters/max_pool_percent", "20")


def why(tree: Path) -> str:
    return "; ".join(need.why for need in compressed_needs(SysRoot(tree)) if not need.met)


@pytest.mark.parametrize(
    "areas, zswap, kind",
    [
        ([], False, None),
        ([(DISK, 1000, 0, -2)], False, None),
        ([(ZRAM, 1000, 0, -2)], False, "zram"),
        ([(ZRAM, 1000, 0, 100), (DISK, 1000, 0, -2)], False, "zram"),
        ([(ZRAM, 1000, 0, -3), (DISK, 1000, 0, -2)], False, None),
        ([(DISK, 1000, 0, -2)], True, "zswap"),
    ],
)
def test_which_swap_is_compressed_memory(
    areas: list[tuple[str, int, int, int]], zswap: bool, kind: str | None, tree: Path
) -> None:
    """A disk that the kernel would fill first makes zram useless; one that it fills last does not."""
    swaps(tree, *areas)
    if zswap:
        enable_zswap(tree)
    swap = find_compressed_swap(SysRoot(tree))
    assert (swap.kind if swap else None) == kind
    assert (why(tree) == "") == (kind is not None)


def test_zswap_has_the_room_of_its_pool(tree: Path) -> None:
    enable_zswap(tree)
    swaps(tree, (DISK, 1 << 20, 0, -2))
    swap = find_compressed_swap(SysRoot(tree))
    assert swap is not None
    assert swap.free_pages(SysRoot(tree)) == (1 << 18) * 20 // 100 - 1024
    usage = swap.usage(SysRoot(tree))
    assert (usage.original_bytes, usage.used_bytes) == (16 << 20, 4 << 20)


def test_a_memory_limit_of_zram_is_room_for_what_does_not_compress(tree: Path) -> None:
    swaps(tree, (ZRAM, 1000, 2, 100))
    put(tree, "sys/block/zram0/mm_stat", f"8192 2048 4096 {4096 * 11} 4096 0 0 0 0")
    swap = find_compressed_swap(SysRoot(tree))
    assert swap is not None
    assert swap.free_pages(SysRoot(tree)) == 10


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda tree: swaps(tree), "no swap is in use"),
        (lambda tree: swaps(tree, (DISK, 1000, 0, -2)), "/dev/sda2, which is no compressed memory"),
        (lambda tree: swaps(tree, (ZRAM, 1000, 951, 100)), "nearly full"),
        (lambda tree: can_swap(tree, "5.15.0"), "Linux 5.15"),
    ],
)
def test_a_machine_that_cannot_says_why(change: object, words: str, tree: Path) -> None:
    swaps(tree, (ZRAM, 1000, 0, 100))
    assert why(tree) == ""
    change(tree)  # type: ignore[operator]
    assert words in why(tree)
    with pytest.raises(UnsupportedError, match="compressed: ") as caught:
        require("compressed", compressed_needs(SysRoot(tree)))
    assert caught.value.hint


def test_missing_rights_are_named(tree: Path) -> None:
    swaps(tree, (ZRAM, 1000, 0, 100))
    can_swap(tree, rights=NO_RIGHTS)
    with pytest.raises(NotPermittedError, match="CAP_SYS_NICE"):
        require("compressed", compressed_needs(SysRoot(tree)))


# ---- the live side


def live_settings(source: str = "scripted") -> LiveSettings:
    mover = MoverSettings(compressed=True)
    return LiveSettings(Targets((PID,)), (source,), mover=mover)


def test_status_shows_what_is_out_and_what_it_saves(
    kernel: SwapKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    put(kernel.tree, "proc/sys/kernel/perf_event_paranoid", "-1")
    live = Live(kernel.root, live_settings(), None, lambda: 10**10)
    assert [source.name for source in live.sources] == ["scripted", "swapins"]
    live.spaces.refresh([PID])
    kernel.page_out(PID, addresses(0, 40))
    list(live.machine.survey(live.spaces.spaces[0]))
    facts = status(live)
    assert facts["compressed"]["pages"] == 40
    assert facts["compressed"]["saved_bytes"] == 40 * 4096 * 3 // 4
    assert facts["counters"]["pghot_compressed_saved_bytes"] == 40 * 4096 * 3 // 4
    assert [node["node"] for node in facts["nodes"]] == [0, 1, 2]


def test_a_source_that_is_blind_above_the_tier_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = machine(tmp_path, Node(0, "10", "0", 64, 4))
    can_swap(tmp_path)
    swaps(tmp_path, (ZRAM, 1000, 0, 100))
    put(tmp_path, f"proc/{PID}/stat", f"{PID} (program) S " + " ".join(["0"] * 49))
    put(tmp_path, f"proc/{PID}/status", f"Tgid:\t{PID}")
    source = register(monkeypatch)
    source.sees = "lower"
    with pytest.raises(UsageError, match="scripted sees no page of the top tier"):
        Live(root, live_settings(), None)
    source.sees = "any"
    Live(root, live_settings(), None)


# ---- the system calls


class Ranges:
    """A kernel that takes ranges up to the first with a page in `refused`, and now and then is busy."""

    def __init__(self, refused: set[int], busy_every: int) -> None:
        self.refused, self.busy_every = refused, busy_every
        self.calls = 0
        self.taken: list[int] = []

    def __call__(self, vector: np.ndarray) -> int:
        self.calls += 1
        if self.busy_every and self.calls % self.busy_every == 0:
            return -errno.EAGAIN
        assert len(vector) <= 1024
        done = 0
        for start, length in vector.tolist():
            pages = range(start // 4096, (start + length) // 4096)
            if self.refused & set(pages):
                return done or -errno.EINVAL
            self.taken += pages
            done += length
        return done


@given(
    st.sets(st.integers(1, 400), max_size=200), st.sets(st.integers(1, 400), max_size=30), st.integers(0, 5)
)
def test_every_page_is_advised_or_refused_for_its_own_sake(
    pages: set[int], refused: set[int], busy_every: int
) -> None:
    address = np.array(sorted(pages), np.uint64) * np.uint64(4096)
    kernel = Ranges(refused, busy_every if busy_every > 1 else 0)
    status_ = advise_ranges(kernel, address)
    assert set(np.array(sorted(pages))[status_ == -errno.EINVAL]) <= refused & pages
    assert set(kernel.taken) >= pages - refused - set(np.array(sorted(pages))[status_ == -errno.EAGAIN])
    assert not set(kernel.taken) & refused
    if not kernel.busy_every:
        assert set(np.array(sorted(pages))[status_ != 0].tolist()) == refused & pages


def test_many_ranges_come_in_calls_of_1024() -> None:
    kernel = Ranges(set(), 0)
    assert (advise_ranges(kernel, np.arange(1, 5001, 2, dtype=np.uint64) * np.uint64(4096)) == 0).all()
    assert kernel.calls == 3


def test_an_error_of_the_process_is_no_error_of_a_page() -> None:
    with pytest.raises(ProcessLookupError):
        advise_ranges(lambda vector: -errno.ESRCH, addresses(0, 3))


@given(st.sets(st.integers(0, 300), min_size=1))
def test_ranges_are_the_pages(pages: set[int]) -> None:
    address = np.array(sorted(pages), np.uint64) * np.uint64(4096)
    start, length = ranges_of(address)
    again = [page for a, b in zip(start, length, strict=True) for page in range(int(a), int(a + b), 4096)]
    assert again == address.tolist()
    assert (start[1:] > start[:-1] + length[:-1]).all()


def test_touching_reads_what_can_be_read_and_passes_over_the_rest() -> None:
    """Our own memory, and an address where nothing is."""
    memory = np.zeros(8 * 4096, np.uint8)
    first = memory.ctypes.data // 4096 * 4096 + 4096
    address = np.array([4096, *range(first, first + 6 * 4096, 4096)], np.uint64)
    assert touch(os.getpid(), address) == 6


def test_pages_of_a_region_that_are_in_swap_were_not_seen(
    kernel: SwapKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source of regions names them all; only a fault shows that one was used."""
    source = register(monkeypatch)
    put(kernel.tree, "proc/sys/kernel/perf_event_paranoid", "-1")
    now = [10**10]
    live = Live(kernel.root, live_settings(), None, lambda: now[0])
    live.spaces.refresh([PID])
    kernel.page_out(PID, addresses(0, 40))
    list(live.machine.survey(live.spaces.spaces[0]))
    region = sightings_of(PID, addresses(30, 20), np.full(20, 9, np.uint32))
    live._take(source(kernel.root), region, 10_000)
    assert live.groups[0].policy.counters()["pghot_reported_accesses"] == 90
    swapin = type("Named", (source,), {"name": "swapins"})
    live._take(swapin(kernel.root), region, 10_000)
    assert live.groups[0].policy.counters()["pghot_reported_accesses"] == 90 + 180


def test_undo_tells_what_came_back_from_what_never_left(kernel: SwapKernel) -> None:
    """Pages of node 0 that were out: they come back to node 0 at once."""
    kernel.populate(PID, PAGES, 30, 0)
    kernel.program(PID, [maps_line(START, PAGES + 30)])
    kernel.show_pagemap(PID)
    with compressing(kernel):
        for key in keys(PAGES, 20):
            kernel.out[key] = kernel.node.pop(key)
        kernel._show_swap()
    result = undo(read_journal(kernel.tree / "j.pghot-journal"), kernel.root)
    assert (result.pages_back, result.pages_home) == (20, PAGES + 10)
