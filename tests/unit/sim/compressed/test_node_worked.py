"""A compressed node's bytes, counted by hand: what it admits, grants, stores, loses and gives back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pghot.rules import RULES
from pghot.sim.compressed.admission import admit_pages, grant_pages, release_pages, write_pages
from pghot.sim.compressed.device import CompressedDevice
from pghot.sim.compressed.node import CompressedNode, Contents

PAGE = 4096


def pages(*index: int) -> np.ndarray:
    return np.array(index, np.uint32)


def node(
    stored: Sequence[int],
    rewritten: Sequence[int],
    real_pages: int,
    rule: str = "ro-cow",
    reserve_pages: int = 0,
    tenant: Sequence[int] | None = None,
    group_pages: float = 512.0,
    **device: object,
) -> CompressedNode:
    """Batches of one page, unless a page stands for fewer real ones; no warning before the last page is in use."""
    shares = {"low_share": 0.001, "high_share": 0.002}
    return CompressedNode(
        CompressedDevice(**{**shares, **device}),
        RULES[rule],
        real_bytes=real_pages * PAGE,
        reserve_bytes=reserve_pages * PAGE,
        contents=Contents(
            np.array(stored, np.uint32),
            np.array(rewritten, np.uint32),
            np.array(tenant if tenant is not None else [0] * len(stored), np.uint16),
        ),
        page_bytes=PAGE,
        group_pages=group_pages,
    )


def test_sizes_are_granules_up_to_a_page_and_zeros_take_none() -> None:
    held = node([0, 1, 64, 65, 4095, 5000], [0] * 6, 10)
    held.admit(np.arange(6, dtype=np.uint32))
    assert held.stored.tolist() == [0, 64, 64, 128, 4096, 4096]
    assert (held.used, held.pages, held.remaining) == (8448, 6, 32_512)
    assert held.saved_bytes == 6 * PAGE - 8448
    assert held.counts.peak_bytes == 8448
    held = node([0, 1, 200], [0] * 3, 10, zero_flag=False, granule=128)
    held.admit(np.arange(3, dtype=np.uint32))
    assert held.stored.tolist() == [128, 128, 256]


def test_a_batch_is_charged_a_page_each_until_it_has_settled() -> None:
    """Of three pages of medium: three of a batch of four fit at their worst, and two more once they have settled."""
    held = node([64] * 8, [0] * 8, 3, group_pages=128.0)
    assert held.admit(np.arange(8, dtype=np.uint32)).tolist() == [0, 1, 2, 4, 5]
    assert held.counts.refused == 3
    assert held.used == 320
    # One at a time, 12,288 - 4,096 bytes may be in use before the last that fits.
    held = node([2048] * 8, [0] * 8, 3)
    assert held.admit(np.arange(8, dtype=np.uint32)).tolist() == [0, 1, 2, 3, 4]
    assert held.used == 5 * 2048
    assert held.admissible == 0
    held.release(pages(0))
    assert held.admissible == 1


def test_how_many_pages_may_arrive() -> None:
    """10 pages of medium, 3 of reserve; then a page of 64 B, which is charged 4032 B more when it is granted."""
    held = node([64] * 12, [64] * 12, 10, reserve_pages=3)
    assert held.admissible == 7
    assert held.admit(pages(0)).tolist() == [0]
    assert held.admissible == 6  # 7 x 4096 - 64
    held.grant(pages(0))
    assert held.granted_growth == 4032
    assert held.admissible == 6  # 7 x 4096 - 4096
    held.used = 8 * PAGE  # into the reserve
    assert held.admissible == 0
    held.used, held.warned = 64, True
    assert held.admissible == 0
    held.warned, held.failed = False, True
    assert held.admissible == 0
    assert held.admit(pages(1)).tolist() == []
    assert held.counts.refused == 1


def test_grants_are_given_in_order_while_all_of_their_growth_fits() -> None:
    """Four pages of medium and one of reserve. Two pages of 64 B leave 12,160 B: 4,032 each fit. A third would not fit
    beside a page that takes 4,096."""
    held = node([64, 64, 64, 4096], [64] * 4, 4, reserve_pages=1)
    held.admit(pages(0, 1))
    assert held.grant(pages(0, 1)).tolist() == [0, 1]
    assert (held.granted_growth, held.counts.granted) == (8064, 2)
    held.revoke(pages(1))
    assert (held.granted_growth, held.granted.tolist()) == (4032, [True, False, False, False])
    held.used += 4097  # 12288 - 128 - 4032 - 4097 = 4031: one byte too few
    assert held.grant(pages(1)).tolist() == []
    held.used -= 1
    assert held.grant(pages(1)).tolist() == [1]
    assert (held.granted_growth, held.counts.granted) == (8064, 3)


def test_a_granted_page_that_grows_was_charged_for_it() -> None:
    held = node([64, 64], [1000, 64], 4)
    held.admit(pages(0, 1))
    held.grant(pages(0, 1))
    assert held.write(pages(0)) == []
    assert held.stored.tolist() == [1024, 64]
    assert held.granted_growth == 2 * 4032 - 960
    assert (held.used, held.counts.peak_bytes, held.used_by.tolist()) == (1088, 1088, [1088])
    held.release(pages(0))
    assert (held.granted_growth, held.used, held.pages) == (4032, 64, 1)
    assert held.granted.tolist() == [False, True]
    assert held.counts.peak_bytes == 1088, "the peak stays"
    assert held.used_by.tolist() == [64]
    held.admit(pages(0))
    assert held.stored[0] == 1024, "its contents are the new ones"


def test_it_warns_above_one_mark_and_is_calm_below_another() -> None:
    """Of 100 pages of medium: it warns above 90 of them, and takes that back below 80."""
    held = node([PAGE] * 100, [64] * 100, 100, low_share=0.1, high_share=0.2)
    held.admit(np.arange(90, dtype=np.uint32))
    assert (held.used, held.warned) == (90 * PAGE, False)
    assert held.admit(pages(90, 91)).tolist() == [90], "the page that crosses the mark, and none after it"
    assert held.warned
    assert held.admit(pages(92)).tolist() == []
    assert held.admit(pages(92), last_resort=True).tolist() == [92]
    held.release(np.arange(12, dtype=np.uint32))
    assert (held.used, held.warned) == (80 * PAGE, True)
    held.write(pages(12))  # 64 B now
    assert (held.used, held.warned) == (79 * PAGE + 64, False)
    assert held.counts.peak_bytes == 92 * PAGE


def test_the_reserve_moves_the_marks_down() -> None:
    """It warns when the reserve is touched, if that is earlier: above 60 of 100 pages, with the same distance."""
    held = node([PAGE] * 100, [64] * 100, 100, "writable", reserve_pages=40, low_share=0.1, high_share=0.2)
    assert (held._warn_above, held._calm_below) == (60 * PAGE, 60 * PAGE - 40_960)
    held.admit(np.arange(70, dtype=np.uint32))
    assert (held.used, held.warned) == (60 * PAGE, False)
    held = node([PAGE], [64], 100, "writable", reserve_pages=99, low_share=0.1, high_share=0.5)
    assert held._calm_below == 1


def test_each_tenant_has_its_share_of_the_medium_less_the_reserve() -> None:
    """Three of four pages are tenant 1's: of 7 x 4096 B it may take three quarters, which is 21,504."""
    held = node([64] * 4, [64] * 4, 8, "contained", reserve_pages=1, tenant=[1, 0, 1, 1])
    assert held.budget.tolist() == [7_168, 21_504]
    assert held.pages_of(1).tolist() == [0, 2, 3]
    assert held.tenant_with_most(pages(0, 1, 2)) == 1
    assert held.tenant_with_most(pages(1)) == 0
    held.used_by[0] = 7_168 - 4096
    assert held.admit(pages(1)).tolist() == [1], "at its worst it takes the budget, exactly"
    held.release(pages(1))
    held.used_by[0] = 7_168 - 4095
    assert held.admit(pages(1, 0)).tolist() == [0]
    assert held.used_by.tolist() == [7_168 - 4095, 64]


def test_without_budgets_a_tenant_takes_what_there_is() -> None:
    held = node([64] * 4, [64] * 4, 8, "ro-cow", tenant=[1, 0, 1, 1])
    held.used_by[0] = 10 * PAGE
    assert held.admit(pages(1)).tolist() == [1]


@pytest.mark.parametrize(("budget", "over"), [(4096, []), (4095, [0])])
def test_a_tenant_that_would_take_more_than_its_budget_at_any_moment_is_told(
    budget: int, over: list[int]
) -> None:
    """Page 0 grows by 1984 B, page 1 shrinks by 960: 2112 + 1984 is the most. Tenant 1 is not concerned."""
    held = node([64, 1024, 64], [2048, 64, 128], 8, "contained", tenant=[0, 0, 1])
    held.admit(pages(0, 1, 2))
    held.used_by[0] = 2112
    held.budget[:] = [budget, PAGE]
    assert held.write(pages(0, 1, 2)) == over
    assert held.stored.tolist() == ([64, 1024, 128] if over else [2048, 64, 128])
    assert held._size.tolist() == [2048, 64, 128], "their new contents are known in either case"


def test_what_does_not_fit_is_lost_and_nothing_grows_from_then_on() -> None:
    """8192 B of medium: page 0 grows to 4096, page 1 would need 64 more than there is."""
    held = node([64, 64, 64], [4096, 4096, 128], 2, "writable")
    held.admit(pages(0, 1, 2))
    assert held.used == 192
    held.write(pages(0, 1, 2))
    assert held.stored.tolist() == [4096, 64, 64]
    assert (held.counts.lost, held.failed) == (2, True)
    held = node([64, 64], [4096, 4096], 2, "writable")
    held.admit(pages(0, 1))
    held.write(pages(0, 1))
    assert (held.counts.lost, held.failed, held.used) == (0, False, 8192), "to the last byte"


# ---- the kernels by themselves


def admitted(
    tenants: list[int], warned: bool, heeds: bool, limits: list[int], batch: int = 2
) -> tuple[list[bool], list[int]]:
    """Five pages that will take 10 B each, where a page has 100; of two tenants with budgets of 1,000 and 120 B."""
    came, state = np.zeros(5, np.bool_), np.array([50, int(warned), 60])
    used_by = np.array([30, 20])
    admit_pages(
        np.arange(5, dtype=np.uint32), np.full(5, 10), np.zeros(5, np.int64), np.array(tenants),
        np.array([1_000, 120]), used_by, np.array(limits), 100, batch, heeds, state, came,
    )  # fmt: skip
    assert used_by.tolist() == [
        before + 10 * sum(1 for row in range(5) if came[row] and tenants[row] == tenant)
        for tenant, before in enumerate((30, 20))
    ]
    return came.tolist(), state.tolist()


def test_batches_of_two_settle_before_the_next() -> None:
    """Up to 250 B: 50 are in use. Two at their worst are 250. Then 70, and one; then 80, and one."""
    assert admitted([0] * 5, False, True, [250, 1_000, 0]) == ([True, True, True, False, True], [90, 0, 90])
    assert admitted([0] * 5, False, True, [249, 1_000, 0]) == ([True, False, True, False, True], [80, 0, 80])
    assert admitted([0] * 5, False, True, [149, 1_000, 0]) == ([False] * 5, [50, 0, 60])


def test_a_tenant_at_its_budget_leaves_the_room_to_others() -> None:
    """Tenant 1 has 20 of 120 B: one page at its worst, and then none, as 30 + 100 are more."""
    assert admitted([1, 1, 0, 1, 0], False, True, [250, 1_000, 0])[0] == [True, False, True, False, True]


def test_the_warning_comes_and_goes_between_batches() -> None:
    """It warns above 69 B: after the first batch, with 70. It is never calm below 0."""
    assert admitted([0] * 5, False, True, [1_000, 69, 0]) == ([True, True, False, False, False], [70, 1, 70])
    assert admitted([0] * 5, False, True, [1_000, 70, 0])[0] == [True] * 4 + [False]
    assert admitted([0] * 5, False, False, [1_000, 69, 0])[0] == [True] * 5
    # It warned before; with 50 in use it is calm below 51, which shows after an empty batch.
    assert admitted([0] * 5, True, True, [1_000, 500, 51]) == ([False, False, True, True, True], [80, 0, 80])
    assert admitted([0] * 5, True, True, [1_000, 500, 50]) == ([False] * 5, [50, 1, 60])


def test_writes_in_order_with_what_is_left() -> None:
    """100 of 150 B are used. Page 3 grows by 30; page 1 grows by 25, which is too much. From then on none grows."""
    size, stored, used_by = np.zeros(4, np.int64), np.array([40, 25, 20, 15]), np.array([60, 40])
    lost = np.zeros(4, np.bool_)
    found = write_pages(
        pages(3, 1, 2, 0), np.array([10, 50, 21, 45]), size, stored, np.array([True, False, True, True]), lost,
        np.array([0, 1, 0, 1]), used_by, 150, 100, False,
    )  # fmt: skip
    assert found == (0, 0, 2)  # +30 - 30; of granted pages as well; 1 and 2 are lost
    assert stored.tolist() == [10, 25, 20, 45]
    assert size.tolist() == [10, 50, 21, 45]
    assert (used_by.tolist(), lost.tolist()) == ([30, 70], [False, True, True, False])


def test_grants_in_order_and_what_leaves() -> None:
    granted, stored = np.zeros(4, np.bool_), np.array([40, 100, 20, 0])
    assert grant_pages(pages(0, 1, 2, 3), 100, 140, stored, granted) == (3, 140)  # 60 + 0 + 80
    assert granted.tolist() == [True, True, True, False]
    assert grant_pages(pages(3), 100, 99, stored, granted) == (0, 0)
    used_by = np.array([500, 700])
    tenant = np.array([0, 1, 1, 0])
    assert release_pages(pages(2, 3, 0), 100, stored, granted, tenant, used_by) == (60, 140)
    assert (stored.tolist(), granted.tolist()) == ([0, 100, 0, 0], [False, True, False, False])
    assert used_by.tolist() == [460, 680]
