"""What all policies share, in figures worked by hand: units of time and size, tiers, options, what is counted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pghot.errors import UsageError
from pghot.policies import LIVE_POLICIES, live_rules, tiers
from pghot.policies.below_top import below_top
from pghot.policies.decisions import DecisionCounts, HeldBack
from pghot.policies.granularity import Units, granularity_of
from pghot.policies.hemem import HeMem
from pghot.policies.none import NoMoves
from pghot.policies.options import parse_options
from pghot.policies.policy import Passive, World, by_kind, group_of
from pghot.policies.sampling_period import own_period, own_tiers
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES

MIB = 1 << 20


def pages(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint32)


def world(rank: list[int], now_ns: float = 0.0, group_pages: float = 1.0, seed: int = 0) -> World:
    tops = tuple(node for node, tier in enumerate(rank) if tier == 0)
    machine = SimpleNamespace(rank=np.array(rank), top_nodes=tops, now_ns=now_ns)
    return World(machine, 1_000, 4096, group_pages, seed)  # type: ignore[arg-type]


def test_kernel_time_runs_k_times_faster_and_sizes_are_divided_by_k() -> None:
    assert world([0, 1], now_ns=3_500_000.0).now_ms == 3.5
    assert world([0, 1], now_ns=3_500_000.0, group_pages=200.0).now_ms == 700.0
    assert world([0, 1]).pages_of(MIB) == 256.0
    assert world([0, 1], group_pages=512.0).pages_of(MIB) == 0.5
    assert [world([0], seed=seed).first_page for seed in range(3)] == [
        0,
        618,
        236,
    ]  # 1000 x 0.618 x seed, mod 1000


@pytest.mark.parametrize(
    ("rank", "fast", "slow"), [([0, 1], 0, 1), ([1, 0, 2, 2, 1], 1, 3), ([0, 0], 0, 1), ([2, 2, 0], 2, 1)]
)
def test_the_first_node_on_top_and_the_last_of_the_lowest_tier(rank: list[int], fast: int, slow: int) -> None:
    assert (world(rank).fast_node, world(rank).slow_node) == (fast, slow)


def test_pages_on_no_node_are_not_below_the_top() -> None:
    machine = SimpleNamespace(
        place=np.array([0, 1, 255, 2, 0], np.uint8), lower=np.array([False, True, True])
    )
    assert below_top(machine, pages(4, 3, 2, 1, 0)).tolist() == [3, 1]  # type: ignore[arg-type]


def test_held_pages_count_as_real_ones_and_rounds_once() -> None:
    decisions = DecisionCounts(group_pages=2.5)
    decisions.hold(pages(1), HeldBack.GATE)
    decisions.hold(pages(1, 2), HeldBack.GATE)  # 3 x 2.5 = 7.5, rounded to even
    decisions.hold(pages(3), HeldBack.RATE)  # 2.5
    for _ in range(3):
        decisions.rest(HeldBack.BUSY)
    assert list(decisions.held_back().items()) == [("gate", 8), ("busy", 3), ("rate", 2)]


def test_tiers_are_chunks_of_128_and_dram_is_in_the_middle_of_its_own() -> None:
    """1000 ns and 20 GB/s beside 100 and 200: 576 x 10 x 10."""
    assert tiers.adistance(1_000, 20, 100, 200) == 57_600
    assert tiers.adistance(271, 26, 100, 200) == 12_007  # 576 x 2.71 x 7.6923 = 12007.38
    assert [tiers.tier_number(distance) for distance in (0, 127, 128, 511, 512, 639, 640)] == [
        0,
        0,
        1,
        3,
        4,
        4,
        5,
    ]
    assert tiers.ranks([9, 4, 9, 5]) == [2, 0, 2, 1]


def test_demotion_goes_to_the_nearest_of_the_next_tier_first() -> None:
    rank = [0, 1, 1, 2, 0]
    row = [10, 30, 20, 15, 11]
    assert tiers.demotion_order(0, rank, [row]) == [2, 1, 3]  # the nearest of all, 3, is two tiers down
    assert tiers.demotion_order(0, rank, [[10, 20, 20, 15, 11]]) == [1, 2, 3]
    assert tiers.demotion_order(3, rank, [row] * 4) == []
    assert tiers.fallback_order(0, [row] * 5) == [0, 4, 3, 2, 1]
    assert tiers.fallback_order(0, [[10, 20, 20], [0] * 3, [0] * 3]) == [0, 1, 2]


def test_the_rules_of_the_live_loop_are_those_of_its_documentation() -> None:
    rules = {name: value for name, value in vars(live_rules).items() if name.isupper()}
    assert rules == {
        "INTERVAL_MS": 100, "RATE_LIMIT_MB_S": 256.0, "FREE_FLOOR": 0.01, "BATCH_PAGES": 512,
        "AGEING_MS": 2000, "OLDEST": 255, "COLD_AGE": 2, "RETURNED_AGE": 30, "LRU_AGEING_MS": 1000,
        "FAULT_HOT_MS": 1000, "FAST_FAULT": 2, "SLOW_FAULT": 1,
    }  # fmt: skip


def test_unseen_is_cold_where_one_source_sees_the_top_tier() -> None:
    hint_faults, pebs = SOURCES.get("hintfaults"), SOURCES.get("pebs")
    assert not live_rules.unseen_is_cold([])
    assert not live_rules.unseen_is_cold([hint_faults])
    assert live_rules.unseen_is_cold([hint_faults, pebs])


# name: kind, group, default sources, takes others, runs live, demotes by itself
DECLARED = {
    "none": ("baseline", "", (), False, True, False),
    "demotion": ("baseline", "", (), False, False, False),
    "all-fast": ("bound", "bounds", (), False, False, False),
    "all-slow": ("bound", "bounds", (), False, False, False),
    "interleave": ("static", "", (), False, False, False),
    "soar": ("static", "", (), False, False, False),
    "static-class": ("static", "", (), False, False, False),
    "hemem": ("mover", "", ("pebs",), False, True, True),
    "pghot-default": ("mover", "pghot", ("hintfaults",), True, True, False),
    "hemem-colloid": ("mover", "", ("pebs",), False, False, True),
    "lru-bw": ("mover", "", (), False, False, True),
    "numab2": ("mover", "", ("hintfaults",), False, False, False),
    "alto-hemem-colloid": ("mover", "", ("pebs",), False, False, True),
    "alto-numab2": ("mover", "", ("hintfaults",), False, False, False),
    "alto-tpp": ("mover", "", ("hintfaults",), False, False, False),
    "chrono": ("mover", "", ("hintfaults",), False, False, False),
    "damos": ("mover", "", ("damon",), False, False, True),
    "equilibria": ("mover", "", ("hintfaults",), False, False, False),
    "hybridtier": ("mover", "", ("pebs",), False, False, True),
    "memtis": ("mover", "", ("pebs",), False, False, True),
    "multi-clock": ("mover", "", (), False, False, False),
    "autotiering": ("mover", "", ("hintfaults",), False, False, True),
    "pact": ("mover", "", ("pebs",), False, False, False),
    "nomad": ("mover", "", ("hintfaults",), False, False, True),
    "tpp-colloid": ("mover", "", ("hintfaults",), False, False, False),
    "tpp": ("mover", "", ("hintfaults",), False, False, False),
    "oracle-epoch": ("oracle", "oracles", (), False, False, False),
    "oracle-static": ("oracle", "oracles", (), False, False, False),
}


@pytest.mark.parametrize("name", DECLARED)
def test_what_each_policy_says_of_itself(name: str) -> None:
    policy = POLICIES.get(name)
    said = (
        policy.kind, group_of(policy), policy.default_sources, policy.any_source, policy.runs_live,
        getattr(policy, "demotes", False),
    )  # fmt: skip
    assert said == DECLARED[name]


def test_policies_sort_by_kind_then_those_that_run_live_then_by_group() -> None:
    def key(name: str) -> tuple[int, bool, str]:
        return by_kind(POLICIES.get(name))

    assert key("none") == (0, False, "")
    assert key("all-slow") == (1, True, "bounds")
    assert key("interleave") == (2, True, "")
    assert key("pghot-default") == (3, False, "pghot")
    assert key("oracle-static") == (4, True, "oracles")


def test_what_listens_to_nothing_and_moves_nothing() -> None:
    policy = NoMoves()
    assert isinstance(policy, Passive)
    policy.start(world([0, 1]))
    policy.act(world([0, 1]))
    assert (policy.tracker_bytes(), policy.counters(), policy.awaits) == (0, {}, "")


def test_units_of_2_mib_hold_512_pages_or_what_they_stand_for() -> None:
    single = Units(pages=1_025, page_bytes=4096, group_pages=1.0, granularity_bytes=2 * MIB)
    assert single.count == 3
    assert single.of(np.array([0, 511, 512, 1_023, 1_024])).tolist() == [0, 0, 1, 1, 2]
    assert single.pages_of(np.array([0, 2])).tolist() == [*range(512), 1_024]
    assert Units(1_024, 4096, 1.0, 2 * MIB).count == 2
    # A page that stands for 512 is a unit, and one that stands for more is taken to be one as well.
    for group_pages in (512.0, 10_000.0):
        large = Units(7, 4096, group_pages, 2 * MIB)
        assert (large.count, large.of(np.arange(7)).tolist()) == (7, list(range(7)))
        assert large.pages_of(np.array([2, 6])).tolist() == [2, 6]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 49, 93, 98, 103, 107, 161])
def test_every_page_is_in_one_unit_however_a_division_rounds(size: int) -> None:
    """49 x (1 / 49) is less than 1 in binary, so page 49 is one of the first 50."""
    units = Units(pages=500, page_bytes=4096, group_pages=1.0, granularity_bytes=4096 * size)
    unit_of = units.of(np.arange(500))
    assert units.count == unit_of[-1] + 1
    for unit in range(units.count):
        assert units.pages_of(np.array([unit])).tolist() == np.flatnonzero(unit_of == unit).tolist()


def test_what_moves_as_a_whole_and_how_often_is_sampled() -> None:
    assert granularity_of(HeMem) == 2 * MIB
    assert granularity_of(NoMoves) == 4096
    assert own_period(HeMem, SOURCES.get("pebs")) == {"period_misses": 5003}
    assert own_period(HeMem, SOURCES.get("ibs")) == own_period(NoMoves, SOURCES.get("pebs")) == {}


def test_a_policy_that_needs_hint_faults_of_every_tier_gets_them() -> None:
    colloid, tpp = POLICIES.get("tpp-colloid"), POLICIES.get("tpp")
    assert own_tiers(colloid, SOURCES.get("hintfaults")) == {"every_tier": True}
    assert own_tiers(tpp, SOURCES.get("hintfaults")) == own_tiers(colloid, SOURCES.get("pebs")) == {}


def test_options_are_taken_as_the_kind_of_their_default() -> None:
    defaults = {"size": 1, "share": 0.5, "whole": True, "word": "", "several": ("a",), "maybe": None}
    texts = [
        "p.size=7",
        "p.share=0.25",
        "p.whole=false",
        "p.word=12",
        "p.several=a,,b",
        "p.maybe=3",
        "q.size=2",
    ]
    found = parse_options([*texts, "p.size=8"], ["p", "q"], lambda name: defaults)
    p = {"size": 8, "share": 0.25, "whole": False, "word": "12", "several": ("a", "b"), "maybe": 3}
    assert found == {"p": p, "q": {"size": 2}}
    assert parse_options(['p.several=["x"]'], ["p"], lambda name: defaults) == {"p": {"several": ("x",)}}
    assert parse_options(["p.word=a=b.c"], ["p"], lambda name: defaults) == {"p": {"word": "a=b.c"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p.size", "not of the form"), ("size=1", "not of the form"), ("psize", "not of the form"),
        ("r.size=1", "'r' is not part of this run"), ("p.other=1", "other"), ("p.size=much", "whole number"),
    ],
)  # fmt: skip
def test_options_that_nothing_takes_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_options([text], ["p"], lambda name: {"size": 1})


def test_what_runs_live_and_what_only_the_lab_can_honour() -> None:
    assert LIVE_POLICIES.names() == [
        "none", "hemem", *(f"pghot-{store}{f1}" for store in ("default", "hashed", "precise") for f1 in ("", "-f1")),
    ]  # fmt: skip
    for name, said in (
        ("numab2", "no policy 'numab2' runs live"),
        ("", "no policy named"),
        ("hemen", "hemen"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            LIVE_POLICIES.get(name)
        assert "these run live: none, hemem, " in caught.value.hint
    with pytest.raises(UsageError, match=r"only the lab can honour pghot-default\.batch_nr"):
        LIVE_POLICIES.make("pghot-default", batch_nr=100)
    assert LIVE_POLICIES.make("pghot-hashed", batch_nr=100).name == "pghot-hashed"
