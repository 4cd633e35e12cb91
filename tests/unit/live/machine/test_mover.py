"""Moving pages on a fake kernel: what may move, how fast, how full, in which order with the journal."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.live_loop import (
    ALWAYS,
    HUGE,
    MIB_PAGES,
    START,
    FakeKernel,
    addresses,
    install,
    maps_line,
    mover,
    one_program,
    seen,
)
from builders.machine_trees import put
from pghot.errors import PghotError
from pghot.kernel.knob_files import DEMOTION_ENABLED
from pghot.kernel.lru_gen import ENABLED, LRU_GEN
from pghot.kernel.maps import MappingKind
from pghot.kernel.sysroot import SysRoot
from pghot.live import journal as journal_module
from pghot.live.journal_file import read_journal
from pghot.live.machine.linux import LinuxMachine
from pghot.live.machine.pages import DEMOTED, PROMOTED
from pghot.live.machine.spaces import ASK_EVERY, Spaces
from pghot.policies.live_rules import AGEING_MS, COLD_AGE, OLDEST, RETURNED_AGE

PID = 500
PAGES = 2048


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """One program with 8 MiB on the slow node."""
    return one_program(tmp_path, monkeypatch, PID, PAGES)


def use_up(kernel: FakeKernel, node: int, leave: int) -> None:
    """Somebody else takes what is free, but for `leave` pages."""
    kernel.free[node] = leave
    kernel._show_free()


# ---- promotion


def test_hot_pages_are_promoted_and_the_others_stay(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(10, 23))
        moves = machine.migrate(page, 0, "kmigrated")
        assert sorted(moves.moved) == sorted(page)
        assert len(moves.failed) == 0
        assert machine.counts.promoted == 23
        assert (machine.place[page] == 0).all()
    assert list(kernel.node.values()).count(0) == 23
    assert set(kernel.nodes_of(PID, addresses(10, 23))) == {0}


def test_pages_come_in_batches(kernel: FakeKernel) -> None:
    with mover(kernel, batch_pages=10) as (machine, spaces):
        machine.migrate(seen(machine, spaces, PID, addresses(0, 25)), 0, "kmigrated")
    assert [len(call) for call in kernel.moves] == [10, 10, 5]


def test_pages_that_are_there_or_nowhere_are_left_out(kernel: FakeKernel) -> None:
    kernel.populate(PID, 100, 1, 0)
    kernel.unmap((PID, START + 101 * 4096))
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(99, 3))
        assert machine.migrate(page, 0, "kmigrated").moved.tolist() == page[:1].tolist()
    assert kernel.moves == [[(PID, START + 99 * 4096)]]


def test_the_rate_is_what_the_policy_may_spend(kernel: FakeKernel) -> None:
    with mover(kernel, rate_limit_mb_s=1.0) as (machine, spaces):
        budget = machine.pages_in_budget("kmigrated")
        assert budget == MIB_PAGES // 2  # half a second's worth
        machine.migrate(seen(machine, spaces, PID, addresses(0, budget)), 0, "kmigrated")
        assert machine.pages_in_budget("kmigrated") == 0
        machine.tick(10_250_000_000)
        assert machine.pages_in_budget("kmigrated") == MIB_PAGES // 4
        machine.pace.guard.share = 0.5
        machine.tick(10_375_000_000)
        assert machine.pages_in_budget("kmigrated") == MIB_PAGES // 4 + MIB_PAGES // 16


def test_a_target_keeps_its_floor_and_what_counters_may_hide(kernel: FakeKernel) -> None:
    use_up(kernel, 0, 700)
    with mover(kernel, demotion="off", batch_pages=64) as (machine, spaces):
        room = machine.room(0)
        assert room == 700 - int(machine.floor_pages[0]) - machine.nodes.drift_pages
        assert 0 < room < PAGES
        moves = machine.migrate(seen(machine, spaces, PID, addresses(0, PAGES)), 0, "kmigrated")
        assert len(moves.moved) == room
        assert len(moves.moved) + len(moves.failed) == PAGES
        machine.tick(11 * 10**9)
        assert machine.room(0) == 0
        assert machine.nodes.lowest_margin == kernel.free[0] - int(machine.floor_pages[0])
    assert kernel.lowest_free[0] >= machine.floor_pages[0]


def test_what_others_take_meanwhile_is_noticed_before_each_batch(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = kernel.move_pages

    def greedy(pid: int, address: np.ndarray, node: np.ndarray, *flags: bool) -> np.ndarray:
        status = real(pid, address, node)
        use_up(kernel, 0, min(kernel.free[0], 500))
        return status

    monkeypatch.setattr("pghot.live.machine.mover.move_pages", greedy)
    with mover(kernel, demotion="off", batch_pages=64) as (machine, spaces):
        machine.migrate(seen(machine, spaces, PID, addresses(0, PAGES)), 0, "kmigrated")
        assert kernel.lowest_free[0] >= machine.floor_pages[0]
        assert machine.counts.promoted < PAGES


# ---- refusals of the kernel


def test_busy_pages_are_tried_three_times_and_then_left(kernel: FakeKernel) -> None:
    stubborn, slow = (PID, START), (PID, START + 4096)
    kernel.busy = {stubborn: ALWAYS, slow: 2}
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 2))
        rounds = [machine.migrate(page, 0, "kmigrated") for _ in range(6)]
        assert [len(each.failed) for each in rounds] == [2, 2, 1, 0, 0, 0]
        assert machine.counts.status == {"EBUSY": 5}
        assert machine.counts.failed == 5
        assert machine.counts.promoted == 1
    assert [len(call) for call in kernel.moves] == [2, 2, 2]
    assert kernel.node[stubborn] == 1
    assert kernel.node[slow] == 0


def test_shared_pages_are_left_for_good(kernel: FakeKernel) -> None:
    kernel.shared = {(PID, START)}
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 2))
        moves = machine.migrate(page, 0, "kmigrated")
        assert moves.moved.tolist() == page[1:].tolist()
        assert len(moves.failed) == 0
        assert machine.counts.status == {"EACCES": 1}
        assert spaces.pages.kind[page[0]] == MappingKind.SHARED
        before = dict(spaces.skipped)
        assert len(seen(machine, spaces, PID, addresses(0, 1))) == 0
        assert spaces.skipped["shared"] == before["shared"] + 1


def test_pages_that_are_gone_are_forgotten(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 3))
        kernel.unmap((PID, START + 4096))
        machine.migrate(page, 0, "kmigrated")
        assert machine.place[page].tolist() == [0, 255, 0]
        assert machine.counts.status == {"ENOENT": 1}
        assert machine.migrate(page[1:2], 0, "kmigrated").moved.tolist() == []
    assert len(kernel.moves) == 1


def test_a_program_that_ended_keeps_no_other_from_moving(kernel: FakeKernel) -> None:
    kernel.program(PID + 1, [maps_line(START, PAGES)])
    kernel.populate(PID + 1, 0, 8, 1)
    with mover(kernel) as (machine, spaces):
        first = seen(machine, spaces, PID, addresses(0, 4))
        second = seen(machine, spaces, PID + 1, addresses(0, 4))
        kernel.exit(PID)
        moves = machine.migrate(np.concatenate([first, second]), 0, "kmigrated")
        assert sorted(moves.moved) == sorted(second)
        assert machine.counts.promoted == 4
    assert set(kernel.nodes_of(PID + 1, addresses(0, 4))) == {0}


@pytest.mark.parametrize("code", [errno.ESRCH, errno.EINVAL])
def test_a_program_that_ends_under_the_mover_is_no_failure(kernel: FakeKernel, code: int) -> None:
    kernel.fails = {PID: code}
    with mover(kernel) as (machine, spaces):
        moves = machine.migrate(seen(machine, spaces, PID, addresses(0, 3)), 0, "kmigrated")
        assert len(moves.moved) == len(moves.failed) == 0
        assert machine.counts.failed == 0


def test_a_reused_pid_is_not_touched(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 3))
        kernel.program(PID, [maps_line(START, PAGES)], start_ticks=999)
        assert len(machine.migrate(page, 0, "kmigrated").moved) == 0
        kernel.exit(PID)
        machine.locate(page)  # it ended: nothing is learnt, nothing is raised
        list(machine.survey(spaces.spaces[0]))
    assert kernel.moves == []


def test_an_error_of_the_whole_call_is_counted_for_every_page(kernel: FakeKernel) -> None:
    kernel.fails = {PID: errno.EPERM}
    with mover(kernel) as (machine, spaces):
        machine.migrate(seen(machine, spaces, PID, addresses(0, 3)), 0, "kmigrated")
        assert machine.counts.status == {"EPERM": 3}
        assert machine.counts.promoted == 0


def test_two_programs_get_a_call_each(kernel: FakeKernel) -> None:
    kernel.program(PID + 1, [maps_line(START, 8)])
    kernel.populate(PID + 1, 0, 8, 1)
    with mover(kernel) as (machine, spaces):
        page = np.concatenate([seen(machine, spaces, pid, addresses(0, 4)) for pid in (PID, PID + 1)])
        assert len(machine.migrate(page[::-1].copy(), 0, "kmigrated").moved) == 8
    assert sorted(call[0][0] for call in kernel.moves) == [PID, PID + 1]
    assert all(call == sorted(call) for call in kernel.moves)


# ---- the journal


def test_the_journal_knows_every_page_before_it_moves(kernel: FakeKernel) -> None:
    """The fake kernel reads the journal's file before it moves anything and fails the test otherwise."""
    kernel.populate(PID, 40, 4, 0)
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 64))
        machine.migrate(page, 0, "kmigrated")
        machine.demote(page, 0, "kmigrated")
        machine.migrate(page[5:9], 0, "kmigrated")
        (entry,) = read_journal(kernel.journal or Path()).spaces
        address, node = entry.origins()
        assert address.tolist() == np.delete(addresses(0, 64), range(40, 44)).tolist() + addresses(
            40, 4
        ).tolist() or (sorted(address.tolist()) == addresses(0, 64).tolist())
        assert dict(zip(address.tolist(), node.tolist(), strict=True)) == {
            each: kernel.first[PID, each] for each in addresses(0, 64).tolist()
        }


def test_the_fake_kernel_would_notice_a_move_without_journal(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 1))
        machine.mover._journal = None
        with pytest.raises(AssertionError, match="does not know"):
            machine.migrate(page, 0, "kmigrated")


def test_origins_are_written_once(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        path = kernel.journal or Path()
        size = path.stat().st_size
        machine.migrate(seen(machine, spaces, PID, addresses(0, 64)), 0, "kmigrated")
        list(machine.survey(spaces.spaces[0]))
        assert path.stat().st_size == size


def test_a_full_disk_stops_the_move(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 4))

        def full(fd: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(journal_module.os, "write", full)
        with pytest.raises(PghotError, match="No space left"):
            machine.migrate(page, 0, "kmigrated")
        monkeypatch.undo()
    assert kernel.moves == []
    assert set(kernel.node.values()) == {1}


# ---- huge pages


@pytest.fixture
def huge(kernel: FakeKernel) -> FakeKernel:
    put(kernel.tree, f"proc/{PID}/smaps_rollup", "AnonHugePages:      8192 kB")
    kernel.huge = True
    return kernel


def test_a_folio_moves_whole_and_the_journal_knows_all_of_it(huge: FakeKernel) -> None:
    with mover(huge) as (machine, spaces):
        moves = machine.migrate(seen(machine, spaces, PID, addresses(700, 1)), 0, "kmigrated")
        assert len(moves.moved) == 1
        assert machine.counts.promoted == HUGE
        block = spaces.table.lookup(np.full(HUGE, PID, np.int32), addresses(HUGE, HUGE))
        assert (machine.place[block] == 0).all()
        (entry,) = read_journal(huge.journal or Path()).spaces
        assert entry.origins()[0].tolist() == addresses(HUGE, HUGE).tolist()


def test_a_folio_costs_all_its_pages(huge: FakeKernel) -> None:
    with mover(huge, rate_limit_mb_s=2.0) as (machine, spaces):
        machine.migrate(seen(machine, spaces, PID, addresses(0, 1)), 0, "kmigrated")
        machine.tick(10_400_000_000)
        assert machine.pages_in_budget("kmigrated") < MIB_PAGES  # 1 MiB was there, 2 MiB were moved


def test_folios_are_moved_one_by_one_within_the_budget(huge: FakeKernel) -> None:
    """One hot page in each of four folios is 8 MiB: the budget of 3 MiB is overdrawn by less than a folio."""
    with mover(huge, rate_limit_mb_s=6.0) as (machine, spaces):
        assert machine.pages_in_budget("kmigrated") == 3 * MIB_PAGES
        page = seen(machine, spaces, PID, np.concatenate([addresses(at, 2) for at in (0, 700, 1100, 1900)]))
        moves = machine.migrate(page, 0, "kmigrated")
        assert machine.counts.promoted == 2 * HUGE
        assert len(huge.moves) == 2
        assert sorted(moves.moved) == sorted(page[:4])
        assert sorted(moves.failed) == sorted(page[4:])
        assert machine.pages_in_budget("kmigrated") == 0
        machine.tick(10_100_000_000)
        assert machine.pages_in_budget("kmigrated") == 0  # the debt of 1 MiB is not paid in 0.6 MiB
        machine.tick(10_200_000_000)
        assert machine.pages_in_budget("kmigrated") > 0


def test_single_pages_of_a_program_with_folios_use_the_whole_budget(huge: FakeKernel) -> None:
    """Any page might be of a folio; what did not come along leaves its budget to the next ones."""
    huge.huge = False
    with mover(huge, rate_limit_mb_s=6.0) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, PAGES)[::4])
        assert len(machine.migrate(page, 0, "kmigrated").moved) == PAGES // 4
        assert machine.pages_in_budget("kmigrated") == 3 * MIB_PAGES - PAGES // 4


def test_no_more_than_the_budget_is_demoted_for(huge: FakeKernel) -> None:
    """Of four folios that are asked for one can come now: room is made for one."""
    huge.populate(PID, PAGES, 4 * HUGE, 0)
    huge.program(PID, [maps_line(START, PAGES + 4 * HUGE)])
    with mover(huge, rate_limit_mb_s=2.0) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        use_up(huge, 0, int(machine.floor_pages[0]) + machine.nodes.drift_pages)
        machine.nodes.read()
        machine.migrate(seen(machine, spaces, PID, addresses(0, PAGES)[::HUGE]), 0, "kmigrated")
        assert (machine.counts.promoted, machine.counts.demoted) == (HUGE, HUGE)


def folios_appear(kernel: FakeKernel) -> None:
    """khugepaged makes folios of a program's single pages."""
    kernel.huge = True
    put(kernel.tree, "proc/vmstat", "thp_fault_alloc 0\nthp_collapse_alloc 4")


def test_folios_that_appear_after_the_survey_have_their_origins_written(kernel: FakeKernel) -> None:
    """Memory that came later than the survey, in which a page moved singly before khugepaged came."""
    kernel.program(PID, [maps_line(START, 2 * PAGES)])
    put(kernel.tree, "proc/vmstat", "thp_fault_alloc 0\nthp_collapse_alloc 3")
    with mover(kernel) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        kernel.populate(PID, PAGES, 2 * HUGE, 1)
        machine.migrate(seen(machine, spaces, PID, addresses(PAGES, 1)), 0, "kmigrated")
        assert machine.counts.promoted == 1
        folios_appear(kernel)
        machine.migrate(seen(machine, spaces, PID, addresses(PAGES + HUGE + 7, 1)), 0, "kmigrated")
        assert machine.counts.promoted == 1 + HUGE


def test_folios_that_appear_during_the_move_are_counted(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(kernel.tree, "proc/vmstat", "thp_fault_alloc 0\nthp_collapse_alloc 3")

    def move_pages(*arguments: object) -> object:
        folios_appear(kernel)
        return kernel.move_pages(*arguments)  # type: ignore[arg-type]

    with mover(kernel) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        monkeypatch.setattr("pghot.live.machine.mover.move_pages", move_pages)
        budget = machine.pages_in_budget("kmigrated")
        page = seen(machine, spaces, PID, addresses(HUGE + 7, 3))
        machine.migrate(page, 0, "kmigrated")
        assert machine.counts.promoted == HUGE
        assert machine.pages_in_budget("kmigrated") == budget - HUGE
        block = spaces.table.lookup(np.full(HUGE, PID, np.int32), addresses(HUGE, HUGE))
        assert (machine.place[block] == 0).all()


def test_pages_that_are_movable_no_more_are_not_moved(kernel: FakeKernel) -> None:
    """The policy has found them hot before their owner bound them."""
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 30))
        put(kernel.tree, f"proc/{PID}/numa_maps", f"{START:x} bind:1 anon=2048")
        for _ in range(ASK_EVERY):
            spaces.refresh([PID])
        moves = machine.migrate(page, 0, "kmigrated")
        assert (len(moves.moved), len(moves.failed)) == (0, 0)
    assert kernel.moves == []


@pytest.mark.parametrize("spare, promoted", [(511, 0), (512, 512), (1023, 512), (1024, 1024)])
def test_a_folio_that_does_not_fit_whole_waits(huge: FakeKernel, spare: int, promoted: int) -> None:
    with mover(huge, demotion="off") as (machine, spaces):
        use_up(huge, 0, int(machine.floor_pages[0]) + machine.nodes.drift_pages + spare)
        machine.tick(11 * 10**9)
        page = seen(machine, spaces, PID, np.concatenate([addresses(100, 3), addresses(900, 3)]))
        moves = machine.migrate(page, 0, "kmigrated")
        assert machine.counts.promoted == promoted
        assert len(moves.moved) == 3 * (promoted // 512)
        assert len(moves.moved) + len(moves.failed) == 6
        assert huge.lowest_free[0] >= machine.floor_pages[0]


def test_folios_of_several_batches_stay_above_the_floor_together(
    huge: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there is plenty, free memory is read before every few batches only: those between count whole folios."""
    monkeypatch.setattr("pghot.live.machine.room.PLENTY_PAGES", 2 * HUGE)
    with mover(huge, demotion="off", batch_pages=2) as (machine, spaces):
        use_up(huge, 0, int(machine.floor_pages[0]) + machine.nodes.drift_pages + 2 * HUGE)
        machine.tick(11 * 10**9)
        page = seen(machine, spaces, PID, np.concatenate([addresses(at, 2) for at in range(0, PAGES, HUGE)]))
        moves = machine.migrate(page, 0, "kmigrated")
        assert huge.lowest_free[0] >= machine.floor_pages[0]
        assert machine.counts.promoted == 2 * HUGE
        assert (len(moves.moved), len(moves.failed)) == (4, 4)


def test_room_is_made_for_a_whole_folio(huge: FakeKernel) -> None:
    huge.populate(PID, 1024, 512, 0)
    with mover(huge) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))  # long unseen, all of it
        use_up(huge, 0, int(machine.floor_pages[0]) + machine.nodes.drift_pages + 10)
        machine.tick(11 * 10**9)
        assert len(machine.migrate(seen(machine, spaces, PID, addresses(100, 1)), 0, "kmigrated").moved) == 1
        assert (machine.counts.promoted, machine.counts.demoted) == (512, 512)


# ---- demotion


def age(machine: LinuxMachine, times: int, now_ms: int = 10_000) -> int:
    for _ in range(times):
        now_ms += AGEING_MS
        machine.tick(now_ms * 1_000_000)
    return now_ms


def test_the_longest_unseen_make_room_and_those_seen_lately_stay(kernel: FakeKernel) -> None:
    kernel.populate(PID, 1000, 300, 0)
    with mover(kernel) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        old = seen(machine, spaces, PID, addresses(1000, 100))
        now_ms = age(machine, 3)
        younger = seen(machine, spaces, PID, addresses(1100, 100))
        now_ms = age(machine, COLD_AGE, now_ms)
        fresh = seen(machine, spaces, PID, addresses(1200, 100))
        coldest = machine.demotion.coldest(0, 120)
        assert set(old) <= set(coldest)
        assert len(set(coldest) & set(younger)) == 20
        assert set(machine.demotion.coldest(0, 10**6)) == set(old) | set(younger)
        # No room: as many must go as shall come.
        use_up(kernel, 0, 0)
        hot = seen(machine, spaces, PID, addresses(0, 50))
        use_up(kernel, 0, int(machine.floor_pages[0]) + machine.nodes.drift_pages)
        machine.free_pages[0] = kernel.free[0]
        moves = machine.migrate(hot, 0, "kmigrated")
        assert len(moves.moved) == 50
        assert machine.counts.demoted == 50
        assert (machine.place[old] == 1).sum() == 50
        assert (machine.place[younger] == 0).all()
        assert (machine.place[fresh] == 0).all()


def test_without_cold_pages_nothing_makes_room(kernel: FakeKernel) -> None:
    kernel.populate(PID, 1000, 100, 0)
    with mover(kernel) as (machine, spaces):
        seen(machine, spaces, PID, addresses(1000, 100))
        use_up(kernel, 0, 0)
        machine.free_pages[0] = 0
        moves = machine.migrate(seen(machine, spaces, PID, addresses(0, 5)), 0, "kmigrated")
        assert len(moves.moved) == 0
        assert len(moves.failed) == 5
        assert machine.counts.demoted == 0


def test_demotion_keeps_the_lower_nodes_floor(kernel: FakeKernel) -> None:
    kernel.populate(PID, 1000, 100, 0)
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(1000, 100))
        use_up(kernel, 1, int(machine.floor_pages[1]) + machine.nodes.drift_pages + 30)
        assert machine.demote(page, 0, "kmigrated") == 30
        assert machine.demote(page[30:], 0, "kmigrated") == 0


def test_a_folio_is_as_young_as_its_youngest_page(huge: FakeKernel) -> None:
    """The neighbours that came along with a promoted page were not seen for long: that says nothing about the folio."""
    huge.populate(PID, 1024, 512, 0)
    with mover(huge) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        machine.migrate(seen(machine, spaces, PID, addresses(100, 1)), 0, "kmigrated")
        assert set(huge.nodes_of(PID, addresses(0, 512))) == {0}
        cold = machine.demotion.coldest(0, 2048)
        assert sorted(spaces.table.where(cold)[1].tolist()) == addresses(1024, 512).tolist()
        age(machine, COLD_AGE)
        assert len(machine.demotion.coldest(0, 2048)) == 1024
        assert set(spaces.table.where(machine.demotion.coldest(0, 512))[1].tolist()) == set(
            addresses(1024, 512).tolist()
        )


def test_pages_that_come_back_after_a_demotion_are_counted(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 10))
        machine.migrate(page, 0, "kmigrated")
        assert machine.demote(page[:4], 0, "kmigrated") == 4
        machine.migrate(page, 0, "kmigrated")
        assert machine.counts.returned == 4
        assert machine.counts.promoted == 14
        assert machine.counts.demoted == 4


def test_reclaim_is_asked_of_the_programs_cgroup_after_the_journal_was_told(kernel: FakeKernel) -> None:
    kernel.populate(PID, 1000, 100, 0)
    put(kernel.tree, f"proc/{PID}/cgroup", "0::/jobs")
    put(kernel.tree, "sys/fs/cgroup/jobs/memory.reclaim", "")
    put(kernel.tree, DEMOTION_ENABLED.lstrip("/"), "false")
    with mover(kernel, cgroups=("/jobs",), demotion="reclaim") as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        use_up(kernel, 0, 0)
        machine.free_pages[0] = 0
        moves = machine.migrate(seen(machine, spaces, PID, addresses(0, 5)), 0, "kmigrated")
        assert len(moves.moved) == 0  # this kernel reclaims nothing
        asked = kernel.root.read("/sys/fs/cgroup/jobs/memory.reclaim")
        assert asked == str(5 * 4096)
        assert kernel.root.read(DEMOTION_ENABLED) == "true"  # else the pages would be swapped out
        (entry,) = read_journal(kernel.journal or Path()).spaces
        assert set(addresses(1000, 100).tolist()) <= set(entry.origins()[0].tolist())


LRU_GEN_TEXT = """\
memcg     1 /jobs
 node     0
          1       9000        100           0
          2       8000          0           0
          3       7000          0           0
memcg     2 /jobs/below
 node     0
          5       9500        200           0
          6       8000          0           0
          7       7000          0           0
memcg     3 /more
 node     0
          8       9000         50           0
          9       8000          0           0
         10       7000          0           0
memcg     4 /others
 node     0
          1       9900        900           0
          2       8000          0           0
          3       7000          0           0
"""


def kernel_that_reclaims(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, most: int
) -> list[tuple[str, str]]:
    """Commands that ask for reclaim free what they ask for, but no more than `most` pages each."""
    asked: list[tuple[str, str]] = []

    def obey(self: SysRoot, name: str, text: str) -> None:
        asked.append((name.rpartition("/sys/fs/cgroup/")[2], text))
        if name.endswith("memory.reclaim"):
            use_up(kernel, 0, kernel.free[0] + min(most, int(text) // 4096))
        elif text.startswith("-"):
            use_up(kernel, 0, kernel.free[0] + min(most, int(text.split()[-1])))

    monkeypatch.setattr(SysRoot, "write", obey)
    return asked


def crowd(kernel: FakeKernel) -> None:
    for cgroup in ("jobs", "jobs/below", "more"):
        put(kernel.tree, f"sys/fs/cgroup/{cgroup}/memory.current", "1")
        put(kernel.tree, f"sys/fs/cgroup/{cgroup}/memory.reclaim", "")
    put(kernel.tree, LRU_GEN.lstrip("/"), LRU_GEN_TEXT)
    put(kernel.tree, ENABLED.lstrip("/"), "0x0007")
    put(kernel.tree, DEMOTION_ENABLED.lstrip("/"), "true")


def survey_all(machine: LinuxMachine, spaces: Spaces) -> None:
    for space in spaces.spaces:
        list(machine.survey(space))


def test_of_several_cgroups_no_more_is_reclaimed_than_is_short(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(kernel)
    asked = kernel_that_reclaims(kernel, monkeypatch, 60)
    with mover(kernel, cgroups=("/jobs", "/more", "/none"), demotion="reclaim") as (machine, spaces):
        survey_all(machine, spaces)
        machine.demotion.make_room(0, 100, (1,), 0)
    assert asked[0] == (DEMOTION_ENABLED, "true")
    assert asked[1:] == [("jobs/memory.reclaim", str(100 * 4096)), ("more/memory.reclaim", str(40 * 4096))]


def test_lru_gen_demotes_the_oldest_of_each_cgroup_and_of_those_below_it(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ages a cgroup when that was not enough, and again only a second later."""
    crowd(kernel)
    asked = kernel_that_reclaims(kernel, monkeypatch, 1000)
    with mover(kernel, cgroups=("/jobs", "/more"), demotion="lru_gen") as (machine, spaces):
        survey_all(machine, spaces)
        machine.demotion.make_room(0, 250, (1,), 10_000)
        machine.demotion.make_room(0, 1000, (1,), 10_001)
        machine.demotion.make_room(0, 1000, (1,), 11_000)
        machine.demotion.make_room(0, 1000, (1,), 11_001)
    commands = [text for _, text in asked[1:]]
    jobs, more = ["- 2 0 5 200 200", "- 1 0 1 200 100"], ["- 3 0 8 200 50"]
    aged = [*jobs, "+ 1 0 3 1 1", "+ 2 0 7 1 1", *jobs, *more, "+ 3 0 10 1 1", *more]  # 700 of 1,000 in all
    assert commands == ["- 2 0 5 200 200", "- 1 0 1 200 50", *aged, *jobs, *more, *aged]


# ---- dry run and survey


def test_a_dry_run_moves_nothing_and_counts_each_page_once(kernel: FakeKernel) -> None:
    with mover(kernel, apply=False) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 30))
        free = int(machine.free_pages[0])
        assert sorted(machine.migrate(page, 0, "kmigrated").moved) == sorted(page)
        assert len(machine.migrate(page, 0, "kmigrated").moved) == 0
        machine.tick(11 * 10**9)
        assert machine.counts.promoted == 30
        assert machine.free_pages[0] == free - 30  # room that is promised is not promised twice
        list(machine.survey(spaces.spaces[0]))
        path = kernel.journal or Path()
    assert kernel.moves == []
    assert not path.exists()  # nothing was changed: no journal is left behind


def test_a_dry_run_demotes_nothing_and_counts_each_page_once(kernel: FakeKernel) -> None:
    """HeMem demotes by itself: a dry run must not move those pages either."""
    kernel.populate(PID, 0, 64, 0)
    with mover(kernel, apply=False) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 64))
        assert machine.demote(page[:40], 0, "hemem") == 40
        assert machine.demote(page, 0, "hemem") == 24
        assert (machine.counts.demoted, machine.counts.promoted) == (64, 0)
    assert kernel.moves == []
    assert set(kernel.nodes_of(PID, addresses(0, 64))) == {0}


def test_with_demotion_off_nothing_is_demoted_whoever_asks(kernel: FakeKernel) -> None:
    kernel.populate(PID, 0, 64, 0)
    with mover(kernel, demotion="off") as (machine, spaces):
        assert machine.demote(seen(machine, spaces, PID, addresses(0, 64)), 0, "hemem") == 0
    assert kernel.moves == []


def test_a_dry_run_promises_no_more_than_there_is_room(kernel: FakeKernel) -> None:
    use_up(kernel, 0, 600)
    with mover(kernel, apply=False) as (machine, spaces):
        room = machine.room(0)
        for first in range(0, PAGES, 256):
            machine.migrate(seen(machine, spaces, PID, addresses(first, 256)), 0, "kmigrated")
        assert machine.counts.promoted == room


def test_a_survey_finds_what_is_present_and_takes_it_for_old(kernel: FakeKernel) -> None:
    kernel.unmap((PID, START + 7 * 4096))
    with mover(kernel) as (machine, spaces):
        fresh = seen(machine, spaces, PID, addresses(3, 1))
        list(machine.survey(spaces.spaces[0]))
        page = spaces.table.lookup(np.full(PAGES, PID, np.int32), addresses(0, PAGES))
        assert (machine.place[page] == 1).sum() == PAGES - 1
        assert machine.place[page[7]] == 255
        assert spaces.pages.ages(fresh).tolist() == [0]
        assert spaces.pages.ages(page[:1]).tolist() == [OLDEST]


def test_time_makes_pages_older_every_ageing_period(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 1), count=8)
        now_ms = age(machine, 1, 10_000)
        machine.tick((now_ms + AGEING_MS - 1) * 1_000_000)
        assert spaces.pages.ages(page).tolist() == [1]
        assert spaces.pages.heats(page).tolist() == [4]


# ---- anything, in any order


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_whatever_the_kernel_answers_the_books_are_right(seed: int) -> None:
    """Random rounds with busy, shared and vanishing pages: floor, journal, places and counts hold throughout."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as monkeypatch:
        kernel = FakeKernel(Path(place), free_pages=(int(rng.integers(400, 700)), 8192))
        kernel.program(PID, [maps_line(START, 512)])
        kernel.populate(PID, 0, 512, 1)
        keys = list(kernel.node)
        kernel.busy = {keys[i]: int(rng.choice([1, 2, ALWAYS])) for i in rng.integers(0, 512, 40)}
        kernel.shared = {keys[i] for i in rng.integers(0, 512, 20)}
        kernel.huge = bool(rng.integers(0, 2))
        put(kernel.tree, f"proc/{PID}/smaps_rollup", f"AnonHugePages: {2048 * kernel.huge} kB")
        install(kernel, monkeypatch)
        with mover(kernel, batch_pages=int(rng.integers(1, 200))) as (machine, spaces):
            random_rounds(rng, kernel, machine, spaces)


def random_rounds(
    rng: np.random.Generator, kernel: FakeKernel, machine: LinuxMachine, spaces: Spaces
) -> None:
    list(machine.survey(spaces.spaces[0]))
    now_ms = 10_000
    for _ in range(8):
        now_ms = age(machine, int(rng.integers(0, 4)), now_ms)
        for index in rng.integers(0, 512, 3).tolist():
            if (PID, START + index * 4096) in kernel.node:
                kernel.unmap((PID, START + index * 4096))
        before = machine.counts.promoted, machine.counts.demoted, dict(kernel.node)
        page = seen(machine, spaces, PID, addresses(int(rng.integers(0, 300)), int(rng.integers(1, 200))))
        moves = machine.migrate(page, 0, "kmigrated")
        assert not set(moves.moved) & set(moves.failed)
        assert (machine.place[moves.moved] == 0).all()
        went = [(before[2][key], node) for key, node in kernel.node.items() if before[2][key] != node]
        assert machine.counts.promoted - before[0] == went.count((1, 0))
        assert machine.counts.demoted - before[1] == went.count((0, 1))
        assert kernel.lowest_free[0] >= machine.floor_pages[0]
    assert machine.counts.failed == sum(machine.counts.status.values())
    dense = spaces.table.lookup(np.full(512, PID, np.int32), addresses(0, 512))
    machine.locate(dense)
    held = [kernel.node.get((PID, each), 255) for each in addresses(0, 512).tolist()]
    assert machine.place[dense].tolist() == held


def test_a_page_that_came_back_after_a_demotion_stays_for_a_minute(kernel: FakeKernel) -> None:
    """Hint faults do not see promoted pages: being unseen is no reason to take such a page down again."""
    kernel.populate(PID, 0, 4, 0)
    with mover(kernel) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        page = seen(machine, spaces, PID, addresses(0, 4))
        spaces.pages.marks[page[:2]] |= PROMOTED | DEMOTED
        now_ms = age(machine, COLD_AGE)
        assert machine.demotion.coldest(0, 10).tolist() == page[2:].tolist()
        age(machine, RETURNED_AGE, now_ms)
        assert sorted(machine.demotion.coldest(0, 10).tolist()) == sorted(page.tolist())


def test_a_forbidden_node_does_not_make_pages_shared(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cpuset refuses the whole call with EACCES, which of a single page would mean that others map it."""

    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    kernel.populate(PID, 0, 4, 1)
    with mover(kernel) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        page = seen(machine, spaces, PID, addresses(0, 4))
        with monkeypatch.context() as patch:
            patch.setattr("pghot.live.machine.mover.move_pages", forbidden)
            assert len(machine.migrate(page, 0, "kmigrated").moved) == 0
        assert machine.counts.status == {"EPERM": 4}
        assert len(machine.migrate(page, 0, "kmigrated").moved) == 4
