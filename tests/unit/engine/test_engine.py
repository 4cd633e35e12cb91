"""The engine as its callers see it: record, wake, requeue, forget, sources, counters."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from builders.engines import ABIT, CHMU, FAULTS, IBS, PAGES, TRUTH, make_engine, on_lower, touch, wake
from pghot.counters import COUNTERS, counter
from pghot.engine.engine import Promotions
from pghot.engine.settings import EngineSettings
from pghot.engine.store import Candidates, no_candidates
from pghot.errors import UsageError

ALL_STORES = pytest.mark.parametrize("store", ["default", "precise", "hashed"])


@ALL_STORES
def test_two_accesses_in_a_window_promote_a_page_once(store):
    engine = make_engine(store)
    touch(engine, [5, 69_999], 0)
    touch(engine, [69_999], 10)
    assert wake(engine, 10).page.tolist() == [69_999]
    assert len(wake(engine, 500)) == 0


@ALL_STORES
def test_accesses_in_different_windows_do_not_add_up(store):
    engine = make_engine(store, window_ms=1000)
    for now_ms in (0, 2000, 4000):
        touch(engine, [5], now_ms)
        assert len(wake(engine, now_ms)) == 0


def test_a_hint_fault_opens_no_new_window_in_the_hashed_store():
    engine = make_engine("hashed", window_ms=1000)
    touch(engine, [5], 0)
    touch(engine, [5], 1900, hint_fault=True)
    assert wake(engine, 1900).page.tolist() == [5]


@ALL_STORES
def test_count_stands_for_that_many_accesses(store):
    engine = make_engine(store, freq_threshold=3)
    touch(engine, [1], 0, count=2)
    touch(engine, [2], 0, count=1_000_000)
    assert wake(engine, 0).page.tolist() == [2]
    assert engine.counters["pghot_recorded_accesses"] == 1_000_002


@ALL_STORES
def test_pages_on_top_or_nowhere_are_not_recorded(store):
    engine, place = make_engine(store), on_lower()
    place[[1, 2]] = [0, 255]
    touch(engine, [1, 2, 3], 0, count=5, place=place)
    assert engine.counters["pghot_recorded_accesses"] == 5
    assert wake(engine, 0).page.tolist() == [3]


@pytest.mark.parametrize("store, node", [("default", 0), ("precise", 1), ("hashed", 1)])
def test_target_is_the_accessing_node_where_the_store_knows_it(store, node):
    engine = make_engine(store)
    touch(engine, [7], 0, node=1, count=2)
    assert wake(engine, 0).node.tolist() == [node]


@pytest.mark.parametrize("store", ["precise", "hashed"])
def test_target_of_a_lower_node_and_of_an_unknown_one(store):
    engine = make_engine(store, top_of_node=(0, 1, 1, 0))
    touch(engine, [7], 0, node=2, count=2)
    touch(engine, [8], 0, node=-1, count=2)
    touch(engine, [9], 0, node=1)
    touch(engine, [9], 0, node=-1)
    found = wake(engine, 0)
    assert dict(zip(found.page.tolist(), found.node.tolist(), strict=True)) == {7: 1, 8: 0, 9: 1}


def test_another_node_starts_a_page_over_in_the_hashed_store_only():
    for store, promoted in (("hashed", []), ("precise", [4])):
        engine = make_engine(store)
        touch(engine, [4], 0, node=0)
        touch(engine, [4], 1, node=1)
        assert wake(engine, 1).page.tolist() == promoted


@pytest.mark.parametrize("store, sleep_ms", [("default", 100), ("precise", 100), ("hashed", 20)])
def test_the_consumer_sleeps(store, sleep_ms):
    engine = make_engine(store)
    assert len(wake(engine, 0)) == 0
    touch(engine, [5], 1, count=2)
    assert len(wake(engine, sleep_ms - 0.5)) == 0
    assert len(wake(engine, sleep_ms)) == 1


def test_kpromoted_pops_one_batch_a_round_and_makes_up_for_missed_rounds():
    engine = make_engine("hashed", batch_nr=10)
    touch(engine, range(100), 0, count=2)
    assert len(wake(engine, 0)) == 10
    assert len(wake(engine, 20)) == 10
    assert len(wake(engine, 60)) == 20


@ALL_STORES
def test_rate_limit_refuses_and_keeps_the_page_for_the_next_second(store):
    engine = make_engine(store, rate_limit_mb_s=10 * 4096 / 2**20)
    touch(engine, range(25), 0, count=2)
    assert [len(wake(engine, now)) for now in (0, 500, 1000, 1500, 2000)] == [10, 0, 10, 0, 5]


@ALL_STORES
def test_scale_divides_the_rate_limit(store):
    engine = make_engine(store, rate_limit_mb_s=10 * 4096 / 2**20, group_pages=5)
    touch(engine, range(25), 0, count=2)
    assert len(wake(engine, 0)) == 2


def test_a_jump_of_several_seconds_grants_their_rate():
    engine = make_engine("precise", rate_limit_mb_s=10 * 4096 / 2**20)
    touch(engine, range(50), 0, count=2)
    assert len(wake(engine, 0)) == 10
    assert len(wake(engine, 3000)) == 30


def test_free_space_lets_pages_through_until_it_is_used_up():
    engine = make_engine(rate_limit_mb_s=0, group_pages=1024)  # bypass beyond 1 MiB = 256 pages
    touch(engine, range(50), 0, count=2)
    free = np.array([256 + 20, 0, 0, 0])
    assert len(wake(engine, 0, free)) == 20
    assert free[0] == 276, "the caller's array is not ours"
    assert engine.counters["pgpromote_candidate_nrl"] == 20
    assert len(wake(engine, 100, free, node_pages=np.full(4, 16 * 300))) == 0, (
        "a sixteenth of the node is more"
    )


@ALL_STORES
def test_max_pages_leaves_the_rest_waiting_even_in_faithful_mode(store):
    engine = make_engine(store, faithful=frozenset({"consumed-before-gate"}))
    touch(engine, range(30), 0, count=2)
    assert [len(wake(engine, now, max_pages=12)) for now in (0, 100, 200, 300)] == [12, 12, 6, 0]


@ALL_STORES
def test_hottest_pages_come_first(store):
    engine = make_engine(store)
    touch(engine, [10, 60_000], 0, count=2)
    touch(engine, [30_000], 0, count=3)
    touch(engine, [60_000], 900, count=0)
    touch(engine, [65_000], 900, count=2)
    assert wake(engine, 1000).page.tolist()[:2] == [30_000, 65_000]


@ALL_STORES
def test_too_old_pages_are_refused_and_keep_their_history(store):
    engine = make_engine(store, window_ms=1000)
    touch(engine, [5], 0, count=2)
    assert len(wake(engine, 1152)) == 0  # nine ticks of 128 ms
    assert engine.counters["kpromoted_cold_old"] == 1
    touch(engine, [6], 1200, count=2)
    assert len(wake(engine, 2000)) == 1
    touch(engine, [6], 2100)
    assert len(wake(engine, 2200)) == 0, "a promoted page starts over"


@ALL_STORES
def test_requeued_pages_keep_their_history(store):
    engine = make_engine(store)
    touch(engine, [1, 2, 3], 0, count=2)
    first = wake(engine, 0)
    engine.requeue(Promotions(first.page[:2], first.node[:2]))
    assert wake(engine, 100).page.tolist() == first.page[:2].tolist()


@ALL_STORES
def test_a_newer_record_wins_over_a_requeued_one(store):
    engine = make_engine(store)
    touch(engine, [1], 0, count=3)
    first = wake(engine, 0)
    touch(engine, [1], 50)
    engine.requeue(first)
    assert len(wake(engine, 100)) == 0
    touch(engine, [1], 150)
    assert len(wake(engine, 200)) == 1


@ALL_STORES
def test_forgotten_pages_are_gone(store):
    engine = make_engine(store)
    touch(engine, [1, 2, 3], 0, count=2)
    engine.forget(np.array([2, 9], np.uint32))
    assert sorted(wake(engine, 0).page.tolist()) == [1, 3]


def test_sources_are_counted_by_kind_and_can_be_switched():
    engine = make_engine(enabled_sources=frozenset({"hintfaults", "abit", "chmu"}))
    for source, count in ((FAULTS, 1), (ABIT, 2), (CHMU, 4), (IBS, 8)):
        touch(engine, [1], 0, count=count, source=source)
    engine.disable("abit")
    engine.enable("ibs")
    for source, count in ((ABIT, 16), (IBS, 32), (TRUTH, 64)):
        touch(engine, [1], 0, count=count, source=source)
    engine.enable("truth")
    touch(engine, [1], 0, count=128, source=TRUTH)
    recorded = {name[15:]: value for name, value in engine.counters.items() if "_recorded_" in name}
    assert recorded == {"accesses": 1 + 2 + 4 + 32 + 128, "hintfaults": 1, "pgtscans": 2, "hwhints": 4 + 32}
    assert not engine.enabled("abit")


@ALL_STORES
def test_every_counter_is_declared_and_bytes_are_told(store):
    engine = make_engine(store)
    for name in engine.counters:
        assert counter(name).help
    least = {"default": 1, "precise": 4, "hashed": 0.5 * 16 / 0.75 + 2 * 0.125 * 8}[store]
    assert engine.bytes_per_page() == pytest.approx(least, rel=0.01)
    assert engine.bytes_total() == pytest.approx(engine.bytes_per_page() * PAGES)


def test_counter_names_are_unique_and_unknown_ones_get_a_hint():
    assert {declared.kind for declared in COUNTERS.values()} == {"counter", "gauge"}
    with pytest.raises(UsageError) as caught:
        counter("pgpromote_succes")
    assert "pgpromote_success" in caught.value.hint


def test_a_full_table_drops_and_counts_the_drop():
    engine = make_engine("hashed", pages=100, table_share=0.1, heap_share=0.5)
    touch(engine, range(50), 0, count=2, place=np.full(100, 2, np.uint8))
    counters = engine.counters
    assert counters["pghot_records_hash"] == 10
    assert counters["pghot_recorded_accesses"] == 10 * 2
    assert counters["pghot_dropped_accesses"] == 40 * 2
    assert counters["pghot_records_heap"] == 5
    assert counters["pghot_heap_full"] == 5


def test_a_page_that_finds_the_table_full_on_its_way_back_is_counted():
    engine = make_engine("hashed", pages=4, table_share=0.5, heap_share=1.0)
    place = np.full(4, 2, np.uint8)
    touch(engine, [0], 0, count=2, place=place)
    taken = wake(engine, 0)
    touch(engine, [1, 2], 1, place=place)
    engine.requeue(taken)
    assert engine.counters["pghot_records_hash"] == 2
    assert engine.counters["pghot_records_dropped"] == 1


class OneHotPage:
    """A store from outside: whatever it saw last is hot."""

    name, window_ms, sleep_ms, batch_nr = "one-hot-page", 1000, 10, 1
    summary = "the last page seen"
    own_settings = ()

    def __init__(self, settings: EngineSettings) -> None:
        self.target, self.last, self.time_ms = settings.target_nid, None, 0

    def record(self, accesses, place, eligible):
        self.last, self.time_ms = accesses.page[-1:], accesses.time_ms
        return 1

    def take(self, now_ms, rounds):
        if self.last is None:
            return no_candidates()
        page, self.last = self.last, None
        return Candidates(page, np.array([self.target], np.int16), np.array([now_ms - self.time_ms]), page)

    def restore(self, candidates, waiting): ...

    def forget(self, pages): ...

    def bytes_total(self):
        return 8

    def counters(self):
        return {}


@pytest.fixture
def installed_store(tmp_path, monkeypatch):
    """A distribution that registers OneHotPage in the entry point group."""
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pghot.stores]\none-hot-page = outside_store:OneHotPage\n")
    (tmp_path / "outside_store.py").write_text(f"from {__name__} import OneHotPage\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("outside_store", None)


@pytest.mark.usefixtures("installed_store")
def test_an_installed_store_from_outside_drives_the_engine():
    engine = make_engine("one-hot-page")
    touch(engine, [3, 4], 0)
    assert wake(engine, 0).page.tolist() == [4]


def test_an_unknown_store_gets_the_nearest_name():
    with pytest.raises(UsageError) as caught:
        make_engine("hashd")
    assert "'hashed'" in caught.value.hint


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"pages": 0}, "pages is 0"),
        ({"nodes": 300}, "300"),
        ({"top_nodes": ()}, "top-tier"),
        ({"top_nodes": (9,)}, "9"),
        ({"target_nid": 2}, "target_nid 2"),
        ({"top_of_node": (0, 1)}, "top_of_node"),
        ({"top_of_node": (0, 1, 2, 0)}, "top_of_node"),
        ({"freq_threshold": 4}, "freq_threshold 4"),
        ({"freq_threshold": 0}, "freq_threshold"),
        ({"window_ms": 3968}, "3968"),
        ({"group_pages": 0}, "group_pages"),
        ({"rate_limit_mb_s": -1}, "rate_limit_mb_s"),
        ({"faithful": frozenset({"adress-order"})}, "adress-order"),
        ({"faithful": frozenset({"frequency-wrap"})}, "frequency-wrap"),
    ],
)
def test_impossible_settings_are_named_and_have_a_remedy(changes, named):
    with pytest.raises(UsageError) as caught:
        make_engine("default", **changes)
    assert named in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "store, changes",
    [
        ("precise", {"freq_threshold": 8}),
        ("precise", {"window_ms": 16383}),
        ("hashed", {"freq_threshold": 8}),
        ("hashed", {"window_ms": 2**19}),
    ],
)
def test_what_a_layout_cannot_hold_is_refused(store, changes):
    with pytest.raises(UsageError):
        make_engine(store, **changes)
