"""The live side's kernels against their references: addresses to dense pages, heat and age, fault latency."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pghot.arrays import NOWHERE
from pghot.kernel.maps import MappingKind
from pghot.live.machine.eligibility import count_kinds, may_move, tally
from pghot.live.machine.fault_latency import FaultLatency
from pghot.live.machine.pages import Pages
from pghot.live.machine.sections import ABSENT, FOREIGN, SECTION_PAGES, SECTION_SHIFT, SectionTable, find
from pghot.policies.bucket import MB, TokenBucket
from pghot.policies.live_rules import FAST_FAULT, SLOW_FAULT
from pghot.policies.pingpong import FEW_PAGES, LOWEST_SHARE, PERIOD_MS, PERIODS, PingPongGuard
from references.live.machine.eligibility import count_kinds_reference, may_move_reference, tally_reference
from references.live.machine.fault_latency import LatencyReference
from references.live.machine.sections import find_reference, find_spaces_reference, name_reference

SECTION_BYTES = SECTION_PAGES * 4096
PID_MAX = 20
seeds = st.integers(0, 2**32 - 1)


def filled(rng: np.random.Generator, sections: int = 6) -> tuple[SectionTable, list[tuple[int, int]]]:
    """A table in which sections were added and removed, and all (space, number) pairs that were ever tried."""
    table = SectionTable(sections, PID_MAX)
    for pid in range(PID_MAX + 1):
        table.assign(pid, int(rng.integers(0, 4)))
    tried = []
    for _ in range(int(rng.integers(0, 30))):
        space, number = int(rng.integers(1, 4)), int(rng.choice([0, 1, 5, (1 << 20) - 1, (1 << 36) - 1]))
        tried.append((space, number))
        held = {pair[1]: pair[0] for pair in table.slots(space)}
        if number in held:
            table.remove(held[number])
        else:
            table.add(space, number)
    return table, tried


def addresses(rng: np.random.Generator, numbers: list[int], length: int) -> np.ndarray:
    """Addresses in and beside these sections, the kernel's half and the last byte there is."""
    chosen = np.array([*numbers, 3, 1 << 36, (1 << 37) - 1], np.uint64)
    section = rng.choice(chosen, length)
    offset = rng.integers(0, SECTION_BYTES, length).astype(np.uint64)
    return section * np.uint64(SECTION_BYTES) + offset


@given(seeds)
def test_pages_are_found_as_by_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, tried = filled(rng)
    length = int(rng.integers(0, 40))
    pid = rng.integers(-2, PID_MAX + 5, length).astype(np.int32)
    address = addresses(rng, [number for _, number in tried], length)
    got, expected = np.zeros(length, np.uint32), np.zeros(length, np.uint32)
    parts = (table._space_of_pid, table._keys, table._slots, pid, address)
    find(*parts, got)
    find_reference(*parts, expected)
    assert got.tolist() == expected.tolist()
    assert (got[address >= np.uint64(1 << 63)] == FOREIGN).all()
    assert table.spaces_of(pid).tolist() == find_spaces_reference(table._space_of_pid, pid).tolist()


@given(seeds)
def test_found_pages_have_the_addresses_that_they_were_found_by(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, tried = filled(rng)
    length = int(rng.integers(0, 40))
    pid = rng.integers(0, PID_MAX + 1, length).astype(np.int32)
    address = addresses(rng, [number for _, number in tried], length) & ~np.uint64(4095)
    page = table.lookup(pid, address)
    there = page < ABSENT
    space, back = table.where(page[there])
    assert back.tolist() == address[there].tolist()
    assert space.tolist() == table._space_of_pid[pid[there]].tolist()
    expected = np.empty_like(space), np.empty_like(back)
    name_reference(table._key_of_slot, page[there], *expected)
    assert (space.tolist(), back.tolist()) == (expected[0].tolist(), expected[1].tolist())


@given(seeds)
def test_pages_may_move_and_are_counted_as_by_the_references(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pages, nodes = int(rng.integers(1, 60)), int(rng.integers(1, 5))
    kind = rng.integers(0, 3, pages).astype(np.uint8)
    place, was = (rng.choice([*range(nodes), NOWHERE], pages).astype(np.uint8) for _ in range(2))
    marks, rank = rng.integers(0, 256, pages).astype(np.uint8), rng.integers(0, 3, nodes)
    page = rng.permutation(pages)[: rng.integers(0, pages + 1)].astype(np.uint32)
    target = int(rng.integers(0, nodes))
    fit, expected = np.empty(len(page), np.bool_), np.empty(len(page), np.bool_)
    may_move(kind, place, marks, page, target, fit)
    may_move_reference(kind, place, marks, page, target, expected)
    assert fit.tolist() == expected.tolist()
    other = marks.copy()
    counts = tally(place, marks, rank, page, was[page], target)
    assert counts == tally_reference(place, other, rank, page, was[page], target)
    assert marks.tolist() == other.tolist()


@given(seeds)
def test_pages_are_movable_or_counted_by_their_kind_as_by_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, len(MappingKind), int(rng.integers(1, 40))).astype(np.uint8)
    page = rng.choice([*range(len(kind)), FOREIGN, ABSENT], int(rng.integers(0, 60))).astype(np.uint32)
    movable, expected = np.empty(len(page), np.bool_), np.empty(len(page), np.bool_)
    count, other = (np.full(len(MappingKind), 7, np.int64) for _ in range(2))
    count_kinds(kind, page, movable, count)
    count_kinds_reference(kind, page, expected, other)
    assert movable.tolist() == expected.tolist()
    assert count.tolist() == other.tolist()
    assert count.sum() - 7 * len(count) + movable.sum() + np.isin(page, (FOREIGN, ABSENT)).sum() == len(page)


class Sections(RuleBasedStateMachine):
    """A section table beside a dictionary that never forgets what it was told."""

    @initialize(sections=st.integers(1, 9))
    def make(self, sections: int) -> None:
        self.table = SectionTable(sections, PID_MAX)
        self.model: dict[tuple[int, int], int] = {}
        self.sections = sections
        for space in range(1, 4):
            self.table.assign(space, space)

    @rule(space=st.integers(1, 3), number=st.integers(0, 12))
    def add(self, space: int, number: int) -> None:
        if (space, number) in self.model:
            return
        slot = self.table.add(space, number)
        if len(self.model) == self.sections:
            assert slot is None
        else:
            assert slot is not None
            assert 0 <= slot < self.sections
            assert slot not in self.model.values()
            self.model[space, number] = slot

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        pair = data.draw(st.sampled_from(sorted(self.model)))
        self.table.remove(self.model.pop(pair))

    @rule(space=st.integers(1, 3))
    def forget_space(self, space: int) -> None:
        """As when a program ends."""
        for slot, number in self.table.slots(space):
            assert self.model.pop((space, number)) == slot
            self.table.remove(slot)

    @invariant()
    def finds_exactly_what_the_model_holds(self) -> None:
        if not hasattr(self, "table"):
            return
        every = [(space, number) for space in range(1, 4) for number in range(13)]
        pid = np.array([space for space, _ in every], np.int32)
        offset = np.arange(len(every), dtype=np.uint64) * np.uint64(4096)
        address = np.array([number for _, number in every], np.uint64) * np.uint64(SECTION_BYTES) + offset
        page = self.table.lookup(pid, address)
        for i, pair in enumerate(every):
            if pair in self.model:
                assert page[i] == (self.model[pair] << SECTION_SHIFT) + i
            else:
                assert page[i] == ABSENT
        assert len(self.table) == len(self.model)

    @invariant()
    def where_is_the_inverse_of_lookup(self) -> None:
        if not getattr(self, "model", None):
            return
        pairs = sorted(self.model)
        page = np.array([(self.model[pair] << SECTION_SHIFT) + 77 for pair in pairs], np.uint32)
        space, address = self.table.where(page)
        assert space.tolist() == [pair[0] for pair in pairs]
        assert address.tolist() == [pair[1] * SECTION_BYTES + 77 * 4096 for pair in pairs]

    @invariant()
    def slots_ascend_by_address(self) -> None:
        for space in range(1, 4) if hasattr(self, "table") else ():
            held = [(number, slot) for (owner, number), slot in self.model.items() if owner == space]
            assert [(number, slot) for slot, number in self.table.slots(space)] == sorted(held)


TestSections = Sections.TestCase


def test_a_table_survives_many_more_removals_than_it_has_places() -> None:
    table = SectionTable(2, PID_MAX)
    table.assign(1, 1)
    for number in range(500):
        slot = table.add(1, number)
        assert slot is not None
        address = np.array([number * SECTION_BYTES, (number + 1) * SECTION_BYTES], np.uint64)
        assert table.lookup(np.full(2, 1, np.int32), address).tolist() == [slot << SECTION_SHIFT, ABSENT]
        table.remove(slot)
    assert len(table) == 0


def test_absent_sections_are_named_once_each() -> None:
    table = SectionTable(2, PID_MAX)
    table.assign(1, 7)
    table.assign(2, 9)
    pid = np.array([1, 1, 2, 1], np.int32)
    address = np.array(
        [3 * SECTION_BYTES, 3 * SECTION_BYTES + 5, 4 * SECTION_BYTES, 8 * SECTION_BYTES], np.uint64
    )
    assert table.absent(pid, address) == [(7, 3), (7, 8), (9, 4)]


@given(seeds)
def test_fault_latency_as_by_the_reference(seed: int) -> None:
    """Also after the 255 numbers of scans are used up."""
    rng = np.random.default_rng(seed)
    latency, reference = FaultLatency(2), LatencyReference()
    for now_ms in (5000 + np.cumsum(rng.integers(0, 900, 120))).tolist():
        page = rng.choice([0, 1, 2, SECTION_PAGES, SECTION_PAGES + 1], 20).astype(np.uint32)
        space, below = rng.integers(1, 3, 20), rng.random(20) < 0.9
        faults = zip(page.tolist(), space.tolist(), below.tolist(), strict=True)
        expected = [reference.count(*fault, now_ms) for fault in faults]
        assert latency.counts(page, space, below, now_ms).tolist() == expected
    assert len(reference.sections[0].scans) > 255
    for number in (1, 2):
        assert latency.interval_ms(number) == reference.interval_ms.get(number, np.inf)


def faulted(latency: FaultLatency, pages: list[int], now_ms: int, below: bool = True) -> list[int]:
    """Counts of faults of space 1."""
    page = np.array(pages, np.uint32)
    return latency.counts(page, np.ones(len(page), np.int64), np.full(len(page), below), now_ms).tolist()


def test_a_fault_is_measured_from_the_first_scan_after_the_last_fault_of_its_page() -> None:
    latency = FaultLatency(1, hot_threshold_ms=1000)
    hot = [0, 1]
    assert faulted(latency, [*hot, 2, 3, 4], 5000) == [SLOW_FAULT] * 5  # nothing is known of any scan yet
    assert faulted(latency, hot, 7000) == [SLOW_FAULT, FAST_FAULT]  # the first notices a scan
    assert faulted(latency, [2], 8000) == [FAST_FAULT]
    assert faulted(latency, [3], 8001) == [SLOW_FAULT]
    assert faulted(latency, hot, 9000) == [FAST_FAULT, FAST_FAULT]  # the first noticed two scans in a row
    assert faulted(latency, [4], 9001) == [SLOW_FAULT]  # it was marked at 7000, not at 9000
    assert latency.interval_ms(1) == 2000


def test_of_two_scans_in_one_round_is_known_that_they_are_no_further_apart() -> None:
    """The hottest page of its section, a huge one for example, faults twice in each late round of 300 ms."""
    latency = FaultLatency(1, hot_threshold_ms=1000)
    assert faulted(latency, [0, 0, 0], 5000) == [SLOW_FAULT] * 3  # nothing is known of the round before
    assert latency.interval_ms(1) == np.inf
    assert faulted(latency, [0, 0], 5300) == [FAST_FAULT] * 2
    assert latency.interval_ms(1) == 300
    assert faulted(latency, [0], 5400) == [FAST_FAULT]
    assert latency.interval_ms(1) == 100
    assert faulted(latency, [0, 0], 5700) == [SLOW_FAULT] * 2  # 300 ms is long after 100 ms


def test_scans_of_a_section_without_hot_pages_are_noticed_late() -> None:
    """Its four pages are touched once in ten seconds. Whoever notices a scan was marked long ago."""
    latency = FaultLatency(1, hot_threshold_ms=1000)
    now_ms = 5000
    for order in ((0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (0, 1, 2, 3)):
        for page in order:
            assert faulted(latency, [page], now_ms) == [SLOW_FAULT]
            now_ms += 2500


def test_the_same_page_notices_scans_of_a_cold_section_where_others_show_how_often_they_come() -> None:
    latency = FaultLatency(2, hot_threshold_ms=1000)
    for now_ms in range(5000, 26_000, 100):
        assert faulted(latency, [0], now_ms) == [FAST_FAULT if now_ms >= 5200 else SLOW_FAULT]
        if now_ms % 5000 == 0:
            assert faulted(latency, [SECTION_PAGES], now_ms) == [SLOW_FAULT]
    assert latency.interval_ms(1) == 100


def test_a_single_hot_page_is_seen_however_rare_scans_are() -> None:
    """A pass over much memory takes 40 s."""
    latency = FaultLatency(1, hot_threshold_ms=1000)
    found = [faulted(latency, [7], now_ms)[0] for now_ms in range(5000, 200_000, 40_000)]
    assert found == [SLOW_FAULT, SLOW_FAULT, FAST_FAULT, FAST_FAULT, FAST_FAULT]


def test_a_page_that_never_faulted_says_nothing() -> None:
    latency = FaultLatency(1, hot_threshold_ms=1000)
    faulted(latency, [0], 5000)
    faulted(latency, [0], 5100)
    assert faulted(latency, [1], 5150) == [SLOW_FAULT]


def test_faults_on_the_top_tier_tell_nothing_of_scans() -> None:
    """Memory that is freed and touched again faults as often as it likes."""
    latency = FaultLatency(1, hot_threshold_ms=1000)
    for now_ms in (5000, 5010, 5020):
        assert faulted(latency, [0], now_ms, below=False) == [SLOW_FAULT]
    assert faulted(latency, [0], 5030) == [SLOW_FAULT]
    assert latency.interval_ms(1) == np.inf


@given(seeds)
def test_retries_stop_at_three(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pages = Pages(4)
    pages.marks[:] = rng.integers(0, 16, 4)
    marks = pages.marks.copy()
    tries = [0] * 4
    for _ in range(6):
        page = np.unique(rng.integers(0, 4, 3)).astype(np.uint32)
        pages.add_retry(page)
        for each in page.tolist():
            tries[each] = min(3, tries[each] + 1)
    assert pages.retries(np.arange(4, dtype=np.uint32)).tolist() == tries
    assert (pages.marks & 15).tolist() == marks.tolist()  # the other marks are as they were


@given(
    st.floats(0.01, 5000), st.lists(st.floats(0.0001, 0.45) | st.floats(0.5, 30), min_size=20, max_size=60)
)
def test_a_spent_bucket_gives_the_rate_and_never_more(rate_mb_s: float, steps_s: list[float]) -> None:
    """A consumer that takes whole pages, all there are, at each tick."""
    now_ns, moved = 10**12, 0
    bucket = TokenBucket(rate_mb_s, now_ns)
    began_ns = now_ns
    for step_s in steps_s:
        now_ns += int(step_s * 1e9)
        bucket.refill(now_ns)
        size = bucket.bytes_now() // 4096 * 4096
        bucket.spend(size)
        moved += size
        assert moved <= rate_mb_s * MB * (now_ns - began_ns) / 1e9 + 1
    earned = rate_mb_s * MB * (now_ns - began_ns) / 1e9
    assert moved >= 0.95 * earned - 4096  # less than a page may be waiting


def test_what_is_left_over_is_lost_and_debt_is_paid_first() -> None:
    bucket = TokenBucket(1.0, 0)
    assert bucket.bytes_now() == 0  # nothing before time passes
    bucket.refill(10 * 10**9)
    bucket.refill(11 * 10**9)
    kept = bucket.bytes_now()
    assert kept <= 1.5 * MB + 4096  # of ten seconds that nobody used
    bucket.spend(kept + 2 * MB)  # a huge folio
    bucket.refill(12 * 10**9)
    assert bucket.bytes_now() == 0
    bucket.refill(13_500_000_000)
    assert bucket.bytes_now() == MB // 2
    bucket.refill(5 * 10**9)  # a clock that stepped back earns nothing
    assert bucket.bytes_now() == MB // 2


def test_a_slow_rate_still_moves_a_page_at_a_time() -> None:
    bucket = TokenBucket(0.001, 0)
    for second in range(1, 10):
        bucket.refill(second * 10**9)
    assert bucket.bytes_now() >= 4096


class Guarded:
    """A guard and the totals it is told, one call for each period."""

    def __init__(self) -> None:
        self.guard = PingPongGuard(0)
        self.now_ms = self.up = self.back = 0

    def period(self, up: int, back: int) -> float:
        self.now_ms += PERIOD_MS
        self.up += up
        self.back += back
        self.guard.tick(self.now_ms, self.up, self.back)
        return self.guard.share


def test_the_guard_halves_after_bad_periods_and_recovers() -> None:
    guarded = Guarded()
    bad, good = (FEW_PAGES, FEW_PAGES // 2 + 1), (FEW_PAGES, FEW_PAGES // 2)
    assert [guarded.period(*bad) for _ in range(PERIODS)] == [1.0] * (PERIODS - 1) + [0.5]
    assert [guarded.period(*bad) for _ in range(PERIODS)][-1] == 0.25
    assert guarded.period(*good) == 0.5
    assert guarded.period(*good) == 1.0
    assert guarded.period(*good) == 1.0


def test_a_good_period_between_bad_ones_starts_the_count_anew() -> None:
    guarded = Guarded()
    for up, back in [(99, 99), (99, 99), (99, 0), (99, 99), (99, 99)]:
        assert guarded.period(up, back) == 1.0


def test_few_pages_and_short_times_say_nothing() -> None:
    guarded = Guarded()
    for _ in range(10):
        assert guarded.period(FEW_PAGES - 1, FEW_PAGES - 1) == 1.0
    guarded.guard.tick(guarded.now_ms + PERIOD_MS - 1, 10**6, 10**6)
    assert guarded.guard.share == 1.0


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=60))
def test_the_share_stays_in_its_bounds(periods: list[tuple[int, int]]) -> None:
    guarded = Guarded()
    for up, back in periods:
        before = guarded.guard.share
        share = guarded.period(up, min(up, back))
        assert LOWEST_SHARE <= share <= 1.0
        assert share in (before, 2 * before, before / 2, 1.0)


def test_constant_ping_pong_ends_at_the_lowest_share() -> None:
    guarded = Guarded()
    for _ in range(PERIODS * 10):
        share = guarded.period(FEW_PAGES, FEW_PAGES)
    assert share == LOWEST_SHARE
