"""The mover by worked examples on a small kernel: nodes of 16384 pages, a floor of 163, one CPU that hides 125."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from builders.live_loop import ALWAYS, PAGE, START, FakeKernel, addresses, install, maps_line, mover, seen
from pghot.kernel.maps import MappingKind
from pghot.live.journal_file import read_journal
from pghot.live.machine import mover as mover_module
from pghot.live.machine.mover import MoveCounts
from pghot.live.machine.pages import DEMOTED, NOWHERE, ORIGIN_WRITTEN, PROMOTED

PID = 500
FLOOR, DRIFT = 163, 125  # 1 % of 16384; one CPU's counters


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """One program with 200 pages on the slow node."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    made = FakeKernel(tmp_path)
    made.program(PID, [maps_line(START, 200)])
    made.populate(PID, 0, 200, 1)
    install(made, monkeypatch)
    return made


def leave(kernel: FakeKernel, node: int, pages: int) -> None:
    kernel.free[node] = pages
    kernel._show_free()


def numbers(kernel: FakeKernel) -> list[list[int]]:
    """Page numbers of each move_pages call."""
    return [[(address - START) // PAGE for _, address in call] for call in kernel.moves]


def test_the_first_pages_fill_the_room_in_batches_and_the_rest_wait(kernel: FakeKernel) -> None:
    leave(kernel, 0, FLOOR + DRIFT + 100)
    with mover(kernel, batch_pages=40) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 130))
        moves = machine.mover.move(page, 0)
        assert moves.moved.tolist() == page[:100].tolist()
        assert moves.failed.tolist() == page[100:].tolist()
        assert machine.place[page].tolist() == [0] * 100 + [1] * 30
        assert machine.nodes.lowest_margin == DRIFT
        counts = machine.counts
        assert (counts.promoted, counts.demoted, counts.returned, counts.failed) == (100, 0, 0, 0)
    assert [len(call) for call in numbers(kernel)] == [40, 40, 20]
    assert kernel.free[0] == FLOOR + DRIFT


def test_a_node_at_its_floor_takes_nothing(kernel: FakeKernel) -> None:
    leave(kernel, 0, FLOOR + DRIFT)
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 3))
        moves = machine.mover.move(page, 0)
        assert (len(moves.moved), moves.failed.tolist()) == (0, page.tolist())
        assert machine.nodes.lowest_margin is None  # nothing was filled
    assert kernel.moves == []


def test_what_others_took_since_is_seen_before_the_next_batch(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*arguments: object) -> object:
        status = kernel.move_pages(*arguments)  # type: ignore[arg-type]
        leave(kernel, 0, FLOOR + DRIFT + 7)
        return status

    with mover(kernel, batch_pages=40) as (machine, spaces):
        monkeypatch.setattr(mover_module, "move_pages", greedy)
        page = seen(machine, spaces, PID, addresses(0, 100))
        moves = machine.mover.move(page, 0)
        # 40; then 7 are free, and after those again 7, for there is something to allocate always.
        assert [len(call) for call in numbers(kernel)] == [40, 7, 7]
        assert (len(moves.moved), len(moves.failed)) == (54, 46)


def test_each_answer_of_the_kernel(kernel: FakeKernel) -> None:
    keys = [(PID, START + index * PAGE) for index in range(6)]
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 6))
        kernel.busy = {keys[1]: ALWAYS}
        kernel.shared = {keys[2]}
        kernel.unmap(keys[3])
        moves = machine.mover.move(page, 0)
        assert moves.moved.tolist() == page[[0, 4, 5]].tolist()
        assert moves.failed.tolist() == [page[1]]  # the busy one may be tried again
        assert machine.place[page].tolist() == [0, 1, 1, NOWHERE, 0, 0]
        assert (
            spaces.pages.kind[page].tolist()
            == [MappingKind.MOVABLE] * 2 + [MappingKind.SHARED] + [MappingKind.MOVABLE] * 3
        )
        assert spaces.pages.retries(page).tolist() == [0, 1, 0, 0, 0, 0]
        assert machine.counts.status == {"EBUSY": 1, "EACCES": 1, "ENOENT": 1}
        assert (machine.counts.promoted, machine.counts.failed) == (3, 3)


def test_a_busy_page_that_is_there_all_the_same_has_moved(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that gives up answers EBUSY for pages that it did move."""

    def gives_up(pid: int, address: np.ndarray, node: np.ndarray, *flags: bool) -> np.ndarray:
        kernel.move_pages(pid, address[:2], node[:2])
        return np.full(len(address), -errno.EBUSY, np.int32)

    monkeypatch.setattr(mover_module, "move_pages", gives_up)
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 3))
        moves = machine.mover.move(page, 0)
        assert (moves.moved.tolist(), moves.failed.tolist()) == (page[:2].tolist(), [page[2]])
        # The third is still on node 1: counted as busy.
        assert (machine.counts.promoted, machine.counts.status) == (2, {"EBUSY": 1})
        assert spaces.pages.retries(page).tolist() == [0, 0, 1]


def test_what_moved_is_young_and_marked_and_what_came_back_is_counted(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 5))
        pages = spaces.pages
        pages.set_age(page, 9)
        machine.mover.move(page[:3], 0)
        assert pages.ages(page).tolist() == [0, 0, 0, 9, 9]
        machine.mover.move(page[:2], 1)
        machine.mover.move(page[:1], 0)
        up, down, known = PROMOTED, DEMOTED, ORIGIN_WRITTEN
        assert pages.marks[page].tolist() == [up | down | known, up | down | known, up | known, 0, 0]
        counts = machine.counts
        assert (counts.promoted, counts.demoted, counts.returned) == (4, 2, 1)


def test_the_origin_of_a_page_is_written_once_and_is_its_first_node(kernel: FakeKernel) -> None:
    kernel.populate(PID, 3, 1, 0)
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(2, 3))
        machine.mover.move(page[:2], 0)
        machine.mover.move(page, 1)
        (entry,) = read_journal(kernel.journal or Path()).spaces
        address, node = entry.origins()
        assert (address.tolist(), node.tolist()) == (addresses(2, 3).tolist(), [1, 0, 1])
        assert entry.pages == 3


def test_nothing_is_told_to_the_journal_when_nothing_is_new(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 2))
        spaces.pages.put(page, NOWHERE)
        machine.mover.write_origins(page)
        path = kernel.journal or Path()
    assert not path.exists()  # it had nothing to undo, and was not left behind


def test_a_program_that_is_gone_or_another_now_is_left_alone(kernel: FakeKernel) -> None:
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 3))
        kernel.program(PID, [maps_line(START, 200)], start_ticks=7)
        moves = machine.mover.move(page, 0)
        assert (len(moves.moved), len(moves.failed), machine.counts.failed) == (0, 0, 0)
        kernel.exit(PID)
        moves = machine.mover.move(page, 0)
        assert (len(moves.moved), len(moves.failed), machine.counts.failed) == (0, 0, 0)
    assert kernel.moves == []


@pytest.mark.parametrize(
    "said, counted",
    [
        (errno.EPERM, {"EPERM": 4}),
        (errno.EACCES, {"EPERM": 4}),  # of the whole call: a cpuset forbids the node
        (errno.EINVAL, {}),  # ended, not reaped yet
        (errno.ESRCH, {}),
        (errno.ENOMEM, {"ENOMEM": 4}),
    ],
)
def test_an_error_of_the_whole_call_is_that_of_each_page(
    kernel: FakeKernel, said: int, counted: dict[str, int]
) -> None:
    kernel.fails = {PID: said}
    with mover(kernel) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 4))
        moves = machine.mover.move(page, 0)
        assert machine.counts.status == counted
        assert machine.counts.failed == sum(counted.values())
        assert len(moves.moved) == 0
        assert len(moves.failed) == (4 if said == errno.ENOMEM else 0)  # may go another time
        assert (machine.place[page] == 1).all()


def test_counts_of_answers() -> None:
    counts = MoveCounts()
    counts.note(np.array([0, 1, -16, -16, -12, -9999], np.int32))
    counts.note(np.array([-16, 0], np.int32))
    assert counts.failed == 5
    assert counts.status == {"EBUSY": 3, "ENOMEM": 1, "9999": 1}


def test_a_dry_run_counts_each_page_once_within_the_room(kernel: FakeKernel) -> None:
    leave(kernel, 0, FLOOR + DRIFT + 50)
    with mover(kernel, apply=False) as (machine, spaces):
        page = seen(machine, spaces, PID, addresses(0, 80))
        assert len(machine.migrate(page, 0, "kmigrated").moved) == 50
        assert machine.free_pages[0] == FLOOR + DRIFT
        machine.tick(11 * 10**9)
        assert machine.room(0) == 0
        assert machine.counts.promoted == 50
    assert kernel.moves == []


def test_the_budget_is_spent_by_what_moved_only(kernel: FakeKernel) -> None:
    kernel.shared = {(PID, START + index * PAGE) for index in range(10)}
    # 1 MiB/s for half a second: 128 pages.
    with mover(kernel, rate_limit_mb_s=1.0) as (machine, spaces):
        assert machine.pages_in_budget("kmigrated") == 128
        moves = machine.migrate(seen(machine, spaces, PID, addresses(0, 100)), 0, "kmigrated")
        assert len(moves.moved) == 90
        assert machine.pages_in_budget("kmigrated") == 38
        moves = machine.migrate(seen(machine, spaces, PID, addresses(100, 100)), 0, "kmigrated")
        assert (len(moves.moved), len(moves.failed)) == (38, 62)
        assert machine.pages_in_budget("kmigrated") == 0
