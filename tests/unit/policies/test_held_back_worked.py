"""Why each policy leaves pages where they are, on a handful of pages counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from builders.policy_bed import MS, Bed


def test_pghot_saw_nothing_then_too_little_then_found_no_room() -> None:
    bed = Bed("pghot-default")
    bed.see(50, 7, 8)  # on the fast node already
    assert bed.act(100) == {"nothing seen": 1}
    bed.see(150, 500, 501, 502)
    assert bed.act(200) == {"threshold": 3, "nothing seen": 1}
    bed.see(250, 500, 503)  # 500 for the second time: hot
    assert bed.act(300) == {"threshold": 4, "nothing seen": 1, "free space": 1}


@pytest.mark.parametrize("store", ["default", "precise", "hashed"])
def test_pghot_with_any_store_is_held_by_the_rate_limit(store: str) -> None:
    bed = Bed(f"pghot-{store}", room=5, rate_limit_mb_s=0.0)
    bed.see(50, 500, 501, count=2)
    assert bed.act(100) == {"rate": 2}


def test_pghot_refuses_at_the_gate_what_waited_too_long() -> None:
    """Hot at 50 ms, but the thread has no time before 3,200 ms: the gate's threshold is the window of 3,000 ms."""
    bed = Bed("pghot-default", room=5)
    bed.see(50, 500, 501, count=2)
    bed.machine.thread("kmigrated").run(0.0, 3_190 * MS)
    bed.machine.slice_ns = MS
    assert bed.act(100) == {"busy": 1}
    bed.machine.slice_ns = 1_000 * MS
    assert bed.act(3_200) == {"gate": 2, "busy": 1}


def test_pghot_leaves_what_the_threads_time_does_not_reach() -> None:
    bed = Bed("pghot-default", room=50)
    bed.see(50, *range(500, 510), count=2)
    bed.machine.slice_ns = MS
    # kmigrated would have the 100 ms until its next round; what it did before leaves time for four pages.
    bed.machine.thread("kmigrated").run(0.0, 200 * MS - 4 * 1_240)
    assert bed.act(100) == {"busy": 6}
    assert np.count_nonzero(bed.machine.place[500:510] == 0) == 4


def test_where_no_page_finds_room_the_budget_is_not_the_reason() -> None:
    """As above, but the fast node is full: the four pages that are tried find no room, and no other would have."""
    bed = Bed("pghot-default")
    bed.see(50, *range(500, 510), count=2)
    bed.machine.slice_ns = MS
    bed.machine.thread("kmigrated").run(0.0, 200 * MS - 4 * 1_240)
    assert bed.act(100) == {"free space": 10}
    bed = Bed("hemem", group_pages=512)
    bed.see(5, *range(160), count=8)  # the whole fast node is hot, and 60 pages below it
    # In 10 ms 10 GB/s are 100 MB, which is 47 pages of 2 MiB: 13 are beyond that.
    assert bed.act(10) == {"free space": 60}


def test_hemem_leaves_what_its_rate_does_not_reach() -> None:
    """As above, with room for all: 47 pages move."""
    bed = Bed("hemem", room=60, group_pages=512)
    bed.see(5, *range(100, 160), count=8)
    held = bed.act(10)
    assert np.count_nonzero(bed.machine.place == 0) == 147
    assert held == {"busy": 13}


def test_numab2_refuses_late_faults_and_finds_no_room() -> None:
    bed = Bed("numab2", room=1)
    assert bed.act(10) == {"nothing seen": 1}
    bed.see(100, 500, 501, 502, latency_ms=1_000)
    bed.see(200, 503, 504, 505, latency_ms=999)
    assert bed.act(200) == {"threshold": 3, "free space": 2, "nothing seen": 1}
    assert np.flatnonzero(bed.machine.place[500:] == 0).tolist() == [3]


def test_numab2_is_held_by_the_rate_limit() -> None:
    bed = Bed("numab2", room=1, rate_limit_mb_s=0.0)
    bed.see(100, 500, 501, latency_ms=5)
    assert bed.act(100) == {"rate": 2}


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[500:] == 0).tolist()  # type: ignore[no-any-return]


def test_numab2_without_its_threshold_or_its_rate_limit_promotes_every_fault() -> None:
    bed = Bed("numab2", room=5, threshold=False)
    bed.see(100, 500, 501, latency_ms=50_000)
    assert promoted(bed) == [0, 1]
    bed = Bed("numab2", room=5, rate_limit_mb_s=0.0, rate_limit=False)
    bed.see(100, 500, 501, latency_ms=5)
    assert promoted(bed) == [0, 1]
    bed = Bed("numab2", room=5, hot_threshold_ms=400)
    bed.see(100, 500, latency_ms=399)
    bed.see(100, 501, latency_ms=400)
    assert promoted(bed) == [0]


def test_numab2_adapts_its_threshold_unless_that_is_switched_off() -> None:
    """One page a minute is far below the limit: the threshold rises from 1,000 by an eighth of that a minute."""
    for options, last in (({}, 3), ({"adaptation": False}, 2)):
        bed = Bed("numab2", room=5, **options)
        for number, at_ms in enumerate((1_000, 62_000)):
            bed.see(at_ms, 500 + number, latency_ms=999)
        bed.see(62_001, 502, latency_ms=1_100)
        assert len(promoted(bed)) == last


def test_hemem_counts_to_eight_and_pushes_out_only_what_is_cold() -> None:
    bed = Bed("hemem", group_pages=512)  # each page is one of 2 MiB
    assert bed.act(10) == {"nothing seen": 1}
    bed.see(15, 500, 501, count=7)
    assert bed.act(20) == {"threshold": 2, "nothing seen": 1}
    bed.see(25, *range(100), count=8)  # the whole fast node is hot
    bed.see(25, 500, count=1)
    # Its one hot page would push out one of the fast node, where none is cold.
    assert bed.act(30) == {"threshold": 2, "nothing seen": 1, "free space": 1}


def test_lru_bw_waits_for_a_slow_tier_that_is_pressed() -> None:
    bed = Bed("lru-bw", room=5)
    bed.machine.used_share = np.array([0.1, 0.3])  # the slow tier must be above 0.3
    assert bed.act(1_000) == {"never pressed": 1}
    bed.machine.used_share = np.array([0.1, 0.9])
    assert bed.act(2_000) == {"never pressed": 1, "nothing seen": 1}  # and nothing was touched


def test_colloid_rests_while_nothing_is_served_or_the_tiers_are_alike() -> None:
    bed = Bed("hemem-colloid")
    assert bed.act(10)["never pressed"] == 1
