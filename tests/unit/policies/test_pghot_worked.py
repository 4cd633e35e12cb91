"""pghot's rounds in figures worked by hand: what its thread has time for, what comes again, and what it says of it."""

from __future__ import annotations

import numpy as np
import pytest

from builders.policy_bed import MS, Bed
from pghot.engine.accesses import Accesses
from pghot.errors import UsageError
from pghot.policies.pghot import PghotDefault, PghotHashed, options_with
from pghot.sim.policies import POLICIES
from pghot.sim.sources.chmu import Chmu
from pghot.sim.sources.pebs import Pebs


def fast(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[500:] == 0).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("store", "thread", "sleep_ms"),
    [("default", "kmigrated", 100), ("precise", "kmigrated", 100), ("hashed", "kpromoted", 20)],
)
@pytest.mark.parametrize("group_pages", [1.0, 4.0])
def test_its_thread_has_as_long_as_it_sleeps(
    store: str, thread: str, sleep_ms: int, group_pages: float
) -> None:
    """kmigrated sleeps 100 ms, kpromoted 20, of kernel time. Busy except for the time of 3.5 pages, it moves four."""
    bed = Bed(f"pghot-{store}", room=50, group_pages=group_pages)
    bed.see(50, *range(500, 510), count=2)
    bed.machine.slice_ns = 0.0
    end_ns = (100 + sleep_ms) * MS / group_pages
    bed.machine.thread(thread).run(0.0, end_ns - 3.5 * 1_240)
    bed.act(100)
    assert len(fast(bed)) == 4
    assert bed.machine.kernel_threads.keys() == {thread}


def test_a_round_without_time_forgets_what_was_seen_and_not_what_is_hot() -> None:
    bed = Bed("pghot-default", room=5)
    bed.see(50, 500, count=2)
    bed.see(50, 501, count=1)
    bed.machine.slice_ns = 0.0
    bed.machine.thread("kmigrated").run(0.0, 200 * MS)
    assert bed.act(100) == {"busy": 1}
    bed.machine.slice_ns = 1_000 * MS
    assert bed.act(300) == {"busy": 1}, "501 was seen too long ago to be told"
    assert fast(bed) == [0]


def test_pages_that_found_no_room_come_again_when_there_is_some() -> None:
    bed = Bed("pghot-default", room=1)
    bed.see(50, 500, 501, 502, count=2)
    assert bed.act(100) == {"free space": 2}
    bed.machine.free_pages[0] += 1
    assert bed.act(200) == {"free space": 3}
    assert len(fast(bed)) == 2


def test_a_page_that_was_hot_in_another_window_is_not_hot_when_it_is_seen_once() -> None:
    bed = Bed("pghot-default")
    bed.see(50, 500, count=2)
    assert bed.act(100) == {"free space": 1}
    bed.see(20_000, 500)
    assert bed.act(20_050)["threshold"] == 1


def test_two_hot_pages_of_three_that_were_seen() -> None:
    """The third was seen once, and that is told once; what was hot before is told no more when it is promoted."""
    bed = Bed("pghot-default", room=10)
    bed.see(50, 500, 501, 500, 502, 501)
    assert bed.act(100) == {"threshold": 1}
    assert fast(bed) == [0, 1]
    bed.see(150, 502)
    assert bed.act(200) == {"threshold": 1}
    assert fast(bed) == [0, 1, 2]
    assert bed.act(300) == {"threshold": 1, "nothing seen": 1}


@pytest.mark.parametrize("source", [Pebs, Chmu])
def test_a_report_pays_20_ns_for_each_record_that_it_steps_past(source: type[Pebs | Chmu]) -> None:
    """Three pages in one list of records: each steps past some of the others. Who pays depends on who sees."""
    bed = Bed("pghot-hashed", faithful=("long-hash-lists",), table_share=1.0)
    seen = Accesses(np.array([500, 501, 502], np.uint32), np.zeros(3, np.int16), np.ones(3, np.uint32), 1)
    store = bed.policy.engine.store  # type: ignore[attr-defined]
    ledger, paid = bed.machine.ledger, []
    for _ in range(2):
        bed.policy.observe(bed.world, source, seen)
        by_program = ledger.tracking_app_ns, ledger.tracking_kernel_ns
        paid.append(by_program if source is Pebs else by_program[::-1])
    assert store.list_steps > 0
    assert paid[-1] == (20.0 * store.list_steps, 0.0)
    assert 0 < paid[0][0] < paid[1][0]


def test_a_page_that_is_forgotten_is_counted_from_nothing() -> None:
    bed = Bed("pghot-default", room=10)
    bed.see(50, 500, 501)
    bed.policy.forget(np.array([500], np.uint32))  # type: ignore[attr-defined]
    bed.see(60, 500, 501)
    bed.act(100)
    assert fast(bed) == [1]


def test_it_has_the_machine_demote_and_takes_its_nodes_from_it() -> None:
    bed = Bed("pghot-default", group_pages=8.0)
    bed.policy.start(bed.world)
    assert bed.machine.demotion_enabled
    settings = bed.policy.engine.settings  # type: ignore[attr-defined]
    assert (settings.pages, settings.page_bytes, settings.nodes, settings.top_nodes) == (1_000, 4096, 2, (0,))
    assert (settings.target_nid, settings.top_of_node, settings.group_pages) == (0, (0, 0), 8.0)
    assert bed.policy.tracker_bytes() >= 1_000
    assert bed.policy.counters()["pghot_recorded_accesses"] == 0


def test_what_may_be_set_and_what_the_machine_says() -> None:
    options = POLICIES.options("pghot-default")
    assert options == {
        "target_nid": None, "freq_threshold": 2, "window_ms": None, "rate_limit_mb_s": 65536.0, "sleep_ms": None,
        "batch_nr": None, "faithful": frozenset(), "table_share": 0.5, "heap_share": 0.25, "prune_age": 2.0,
    }  # fmt: skip
    assert options_with(prune_age=3.0).parameters["prune_age"].default == 3.0
    assert options_with().parameters["prune_age"].default == 2.0
    with pytest.raises(TypeError):
        options_with().bind(1)  # each by its name


def test_impossible_options_are_found_before_there_is_a_machine() -> None:
    with pytest.raises(UsageError, match="freq_threshold is 0"):
        PghotDefault(freq_threshold=0)
    with pytest.raises(UsageError):
        PghotDefault(table_share=0.25)  # of the hashed store
    assert PghotHashed(table_share=0.25).options == {"table_share": 0.25}


def test_options_that_only_the_lab_can_honour() -> None:
    assert PghotDefault().lab_options() == []
    assert PghotDefault(batch_nr=None).lab_options() == []
    assert PghotDefault(batch_nr=64).lab_options() == ["batch_nr"]
    assert PghotHashed(batch_nr=64).lab_options() == []
    quirks = ("never-expire", "long-hash-lists")
    assert PghotHashed(faithful=quirks).lab_options() == ["faithful=long-hash-lists"]
