"""Hint faults and replay as live sources: what they need, what they set, what they report; no kernel is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.live_loop import space_of
from builders.machine_trees import Node, machine, put
from builders.rings import record, ring_of
from pghot.arrays import U64
from pghot.errors import NotPermittedError, UnsupportedError, UsageError
from pghot.kernel.knob_files import NUMA_BALANCING, PROMOTE_RATE_LIMIT, SCAN
from pghot.kernel.node_files import node_of_cpu
from pghot.kernel.perf_event import EventSpec
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import SetKnob, Watched
from pghot.live.journal import Journal
from pghot.live.journal_file import read_journal
from pghot.live.knobs import Knobs
from pghot.live.sources import LIVE_SOURCES, faults, swapins
from pghot.live.sources.faults import Faults
from pghot.live.sources.recorded import Replay
from pghot.live.sources.swapins import SwapIns
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo
from pghot.recording.writer import write_recording

RING = 1 << 12
LOST = 2
SAMPLE = 9
KNOBS = {
    NUMA_BALANCING: "1",
    PROMOTE_RATE_LIMIT: "65536",
    f"{SCAN}/scan_size_mb": "256",
    f"{SCAN}/scan_period_max_ms": "60000",
    f"{SCAN}/scan_period_min_ms": "1000",
}


@pytest.fixture
def tiers(tmp_path: Path) -> SysRoot:
    """Two tiers with all knobs of Linux 6.12, for root."""
    root = machine(tmp_path, Node(0, "10 30", "0-1", 64, 4), Node(1, "30 10", "", 64, 45))
    for name, value in KNOBS.items():
        put(tmp_path, name.lstrip("/"), value)
    put(tmp_path, "proc/sys/kernel/perf_event_paranoid", "2")
    put(tmp_path, "proc/self/status", "CapEff:\t000001ffffffffff")
    put(tmp_path, "sys/devices/system/cpu/possible", "0-3")
    return root


class FakeRing:
    """What `Ring` offers, over bytes; `room` is where the kernel writes."""

    def __init__(self) -> None:
        self.data = np.zeros(RING, np.uint8)
        self.head = self.tail = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        at = (self.head + np.arange(len(data))) % RING
        self.data[at] = np.frombuffer(data, np.uint8)
        self.head += len(data)

    def consume(self, tail: int) -> None:
        self.tail = tail

    def close(self) -> None:
        self.closed = True


def fault(pid: int, address: int, cpu: int, size: int = 4096) -> bytes:
    return record(SAMPLE, [pid | (pid + 1) << 32, address, cpu, size])


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> FakeRing:
    made = FakeRing()
    monkeypatch.setattr(faults, "open_on_all_cpus", lambda root, spec, size, cgroup: [made])
    return made


# ---- what hint faults need


def test_all_needs_are_met_on_a_machine_that_has_all(tiers: SysRoot) -> None:
    assert all(need.met for need in Faults(tiers).needs())


@pytest.mark.parametrize(
    "lacking, verdict, why",
    [
        (NUMA_BALANCING, "unsupported", "no /proc/sys/kernel/numa_balancing"),
        (PROMOTE_RATE_LIMIT, "unsupported", "cannot keep mode 2 from promoting"),
        (f"{SCAN}/scan_period_min_ms", "unsupported", f"no {SCAN}"),
        ("/proc/sys/kernel/perf_event_paranoid", "unsupported", "no perf events"),
        ("/proc/self/status", "not permitted", "perf_event_paranoid is 2 and CAP_PERFMON is missing"),
    ],
)
def test_what_is_missing_is_named(tiers: SysRoot, lacking: str, verdict: str, why: str) -> None:
    tiers.path(lacking).unlink()
    (need,) = [need for need in Faults(tiers).needs() if not need.met]
    assert need.verdict == verdict
    assert why in need.why
    error = UnsupportedError if verdict == "unsupported" else NotPermittedError
    with pytest.raises(error, match="faults: "):
        Faults(tiers).start(Watched(()), lambda path, value: None)


def test_a_debugfs_that_cannot_be_seen(tiers: SysRoot, tmp_path: Path) -> None:
    tiers.path("/sys/kernel/debug/sched").rename(tmp_path / "away")
    (need,) = [need for need in Faults(tiers).needs() if not need.met]
    assert need.verdict == "not permitted"
    assert "mount -t debugfs" in need.remedy


def test_knobs_that_may_not_be_written(tiers: SysRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SysRoot, "writable", lambda self, name: False)
    unmet = [need for need in Faults(tiers).needs() if not need.met]
    assert [need.verdict for need in unmet] == ["not permitted", "not permitted"]
    assert all("CAP_SYS_ADMIN" in need.remedy for need in unmet)


def test_one_node_or_one_tier_gives_no_faults(tmp_path: Path) -> None:
    one = machine(tmp_path / "one", Node(0, "10", "0", 64, 4))
    two = machine(tmp_path / "two", Node(0, "10 20", "0", 64, 4), Node(1, "20 10", "1", 64, 4))
    for root, why in (
        (one, "this machine has one memory node"),
        (two, "puts all memory nodes into its top tier"),
    ):
        assert any(why in need.why for need in Faults(root).needs())


# ---- what they set


def test_the_rate_limit_is_0_before_the_mode_changes_and_all_comes_back(
    tiers: SysRoot, ring: FakeRing, tmp_path: Path
) -> None:
    with Journal(tmp_path / "j", tiers) as journal:
        knobs, order = Knobs(tiers, journal), []

        def set_knob(path: str, value: str) -> None:
            order.append(path)
            knobs.set(path, value)

        source = Faults(tiers, scan_period_ms=100, scan_size_mb=512)
        source.start(Watched(()), set_knob)
        assert order[0] == PROMOTE_RATE_LIMIT
        assert order[-1] == NUMA_BALANCING
        assert tiers.read(PROMOTE_RATE_LIMIT) == "0"
        assert tiers.read(NUMA_BALANCING) == "2"
        assert tiers.read(f"{SCAN}/scan_period_min_ms") == "100"
        assert "512 MiB" in source.sampling()
        source.set_effort(0.25)
        assert tiers.read(f"{SCAN}/scan_period_min_ms") == tiers.read(f"{SCAN}/scan_period_max_ms") == "400"
        assert "at best every 400 ms" in source.sampling()
        source.set_effort(1.0)
        source.stop()
        assert ring.closed
        assert knobs.restore() == []
        assert {name: tiers.read(name) for name in KNOBS} == KNOBS
        assert len(read_journal(journal.path).knobs) == len(order) - 2  # the effort of 1 is known already


@pytest.mark.parametrize(
    "option", [{"scan_size_mb": 0}, {"scan_size_mb": 1 << 20}, {"scan_period_ms": 0}, {"scan_period_ms": -5}]
)
def test_options_that_the_kernel_would_not_survive(tiers: SysRoot, option: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"which is (less|more) than it can be"):
        Faults(tiers, **option)


def test_sightings_have_the_node_of_the_cpu(tiers: SysRoot, ring: FakeRing) -> None:
    source = Faults(tiers)
    source.start(Watched(()), lambda path, value: None)
    assert source.poll(0) == []
    for i in range(23):
        ring.write(fault(500 + i % 2, 0x7F0000000000 + 4096 * i, i % 4))
    (seen,) = source.poll(1)
    assert seen.hint_fault
    assert seen.pid.tolist() == [500 + i % 2 for i in range(23)]
    assert seen.address.tolist() == [0x7F0000000000 + 4096 * i for i in range(23)]
    assert seen.node.tolist() == [[0, 0, -1, -1][i % 4] for i in range(23)]
    assert seen.count.tolist() == [1] * 23
    assert not seen.write.any()
    assert source.poll(2) == []
    ring.write(record(LOST, [1, 42]) + fault(500, 4096, 0))
    assert len(source.poll(3)[0]) == 1
    assert source.counters()["numa_hint_faults"] == 24
    assert source.counters()["hwhint_dropped_events"] == 42
    source.watch(Watched((space_of(500),)))


@pytest.mark.parametrize("made", [Faults, SwapIns])
def test_a_cgroup_that_is_made_again_gets_new_events(
    tiers: SysRoot, monkeypatch: pytest.MonkeyPatch, made: type[Faults] | type[SwapIns]
) -> None:
    rings: list[tuple[str, FakeRing]] = []

    def opened(root: SysRoot, spec: EventSpec, size: int, cgroup: str) -> list[FakeRing]:
        rings.append((cgroup, FakeRing()))
        return [rings[-1][1]]

    for module in (faults, swapins):
        monkeypatch.setattr(module, "open_on_all_cpus", opened)
    source = made(tiers)
    of_a = Watched((space_of(7),), "a")
    source.start(of_a, lambda path, value: None)
    rings[0][1].write(fault(7, 0x7000, 0))
    source.poll(0)
    counted = source.counters()
    source.reopen(of_a)
    assert [(cgroup, ring.closed) for cgroup, ring in rings] == [("a", True), ("a", False)]
    assert source.counters() == counted
    source.stop()
    assert rings[1][1].closed


def test_a_huge_page_is_seen_as_its_first_page(tiers: SysRoot, ring: FakeRing) -> None:
    source = Faults(tiers)
    source.start(Watched(()), lambda path, value: None)
    for address, size in ((0x7F0000345678, 2 << 20), (0x7F0000745678, 4096), (0x7F0000945678, 0)):
        ring.write(fault(500, address, 0, size))
    (seen,) = source.poll(1)
    assert seen.address.tolist() == [0x7F0000200000, 0x7F0000745000, 0x7F0000945000]


def test_folios_between_a_page_and_2_mib_are_looked_up_for_tracked_programs(
    tiers: SysRoot, ring: FakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where such sizes are switched on, once that is noticed."""

    def first_of_64_kib(root: SysRoot, pid: int, address: U64) -> U64:
        assert pid == 500
        return address & ~np.uint64(0xFFFF)

    monkeypatch.setattr(faults, "first_in_folio", first_of_64_kib)
    source = Faults(tiers)
    source.start(Watched((space_of(500),)), lambda path, value: None)

    def seen(now_ms: int) -> list[int]:
        ring.write(fault(500, 0x7F0000345678, 0) + fault(501, 0x7F0000345678, 0))
        return source.poll(now_ms)[0].address.tolist()

    assert seen(1) == [0x7F0000345000, 0x7F0000345000]
    put(
        tiers.path("/"),
        "sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled",
        "[always] inherit madvise never",
    )
    assert seen(2) == [0x7F0000345000, 0x7F0000345000]
    assert seen(1001) == [0x7F0000340000, 0x7F0000345000]


def noting(root: SysRoot, modes: list[str]) -> SetKnob:
    """Sets knobs, and notes what becomes of the mode."""

    def set_knob(path: str, value: str) -> None:
        root.write(path, value)
        modes.extend([value] * (path == NUMA_BALANCING))

    return set_knob


def test_the_mode_that_a_stranger_has_set_is_left_alone(
    tiers: SysRoot, ring: FakeRing, tmp_path: Path
) -> None:
    source, modes = Faults(tiers), []
    source.start(Watched((space_of(500),)), noting(tiers, modes))
    tiers.write(NUMA_BALANCING, "1")
    for second in range(3):
        clock = f"se.sum_exec_runtime : {second}.5\ntotal_numa_faults : 0\nmm->numa_scan_seq : 2\n"
        put(tmp_path, "proc/500/task/500/sched", clock)
        source.poll(1000 * second)
    assert modes == ["2"]
    assert tiers.read(NUMA_BALANCING) == "1"


def test_the_balancing_mode_is_added_until_threads_keep_to_the_knobs(
    tiers: SysRoot, ring: FakeRing, tmp_path: Path
) -> None:
    source, modes = Faults(tiers), []
    source.start(Watched((space_of(500),)), noting(tiers, modes))
    for second, faults_taken in enumerate((0, 0, 1, 1)):
        clock = (
            f"se.sum_exec_runtime : {second}.5\ntotal_numa_faults : {faults_taken}\nmm->numa_scan_seq : 2\n"
        )
        put(tmp_path, "proc/500/task/500/sched", clock)
        source.poll(1000 * second)
    assert modes == ["2", "3", "2"]


def test_a_program_that_the_kernel_no_longer_scans_gets_another_round_and_is_named(
    tiers: SysRoot, ring: FakeRing, tmp_path: Path
) -> None:
    source, modes = Faults(tiers), []
    source.start(Watched((space_of(500),)), noting(tiers, modes))
    for second in range(110):
        runs = (
            f"se.sum_exec_runtime : {second}.5\ntotal_numa_faults : {min(second, 3)}\nmm->numa_scan_seq : 2\n"
        )
        put(tmp_path, "proc/500/task/500/sched", runs)
        put(tmp_path, "proc/500/stat", f"500 (busy) S {'0 ' * 10}{100 * second} {'0 ' * 40}")
        source.poll(1000 * second)
        if second == 20:
            assert modes == ["2", "3", "2"]
            assert source.degraded() == []
    assert modes == ["2", "3", "2", "3", "2"]
    stalled, unreached = source.degraded()
    assert "does not scan process 500" in stalled
    assert "1 threads keep a scan period of their own" in unreached


def test_nodes_of_one_tier_stay_balanced_if_they_were(tmp_path: Path, ring: FakeRing) -> None:
    """Mode 2 alone would end the kernel's moves between sockets, which is nobody's wish."""
    nodes = (
        Node(0, "10 20 30", "0", 64, 4),
        Node(1, "20 10 30", "1", 64, 4),
        Node(2, "30 30 10", "", 64, 45),
    )
    for before, then in (("1", "3"), ("0", "2"), ("2", "2")):
        root = machine(tmp_path / before, *nodes)
        for name, value in {**KNOBS, NUMA_BALANCING: before}.items():
            put(tmp_path / before, name.lstrip("/"), value)
        put(tmp_path / before, "proc/sys/kernel/perf_event_paranoid", "2")
        put(tmp_path / before, "proc/self/status", "CapEff:\t000001ffffffffff")
        put(tmp_path / before, "sys/devices/system/cpu/possible", "0-1")
        source = Faults(root)
        source.start(Watched(()), root.write)
        assert root.read(NUMA_BALANCING) == then
        period = "1000" if before == "1" else "200"
        assert root.read(f"{SCAN}/scan_period_min_ms") == period, "each scan makes the top tier fault, too"
        assert ("as often as the kernel balances" in source.sampling()) == (before == "1")


@pytest.mark.parametrize("ranges, period_ms", [(1, 200), (5, 200), (20, 100), (110, 25), (5000, 25)])
def test_every_mapping_has_its_turn_within_three_seconds(
    tiers: SysRoot, ring: FakeRing, ranges: int, period_ms: int
) -> None:
    """Ten more are of its code: 3000 ms / (20 + 10) = 100 ms. The kernel marks 64 MiB every 25 ms at most."""
    starts = np.arange(ranges, dtype=np.uint64) << np.uint64(20)
    many = replace(space_of(500), start=starts, end=starts + np.uint64(4096))
    source = Faults(tiers)
    source.start(Watched((space_of(501),)), tiers.write)
    assert tiers.read(f"{SCAN}/scan_period_min_ms") == "200"
    source.watch(Watched((space_of(501), many)))
    assert (
        tiers.read(f"{SCAN}/scan_period_min_ms") == tiers.read(f"{SCAN}/scan_period_max_ms") == str(period_ms)
    )


def test_more_faults_than_one_batch_holds(
    tiers: SysRoot, ring: FakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "_BATCH", 5)
    source = Faults(tiers)
    source.start(Watched(()), lambda path, value: None)
    for i in range(23):
        ring.write(fault(500, 4096 * i, 0))
    assert [len(seen) for seen in source.poll(0)] == [5, 5, 5, 5, 3]
    assert ring.tail == ring.head


def test_the_node_of_each_cpu(tmp_path: Path) -> None:
    root = machine(tmp_path, Node(0, "10 20", "0,2", 64), Node(1, "20 10", "1,9", 64))
    put(tmp_path, "sys/devices/system/cpu/possible", "0-3")
    assert node_of_cpu(root).tolist() == [0, 1, 0, -1]
    assert node_of_cpu(SysRoot(tmp_path / "none")).tolist() == [-1]


# ---- replay


def trace(slices: list[dict[int, int]], regions: tuple[Region, ...]) -> MemoryTrace:
    """A recording of slices of {page: touches}, 10 ms apart."""
    rows = [(page, touches) for each in slices for page, touches in sorted(each.items())]
    page = np.array([row[0] for row in rows], np.uint32)
    touches = np.array([row[1] for row in rows], np.uint32)
    batch = SliceBatch(
        start_ns=np.arange(len(slices), dtype=np.uint64) * np.uint64(10_000_000),
        instructions=np.full(len(slices), 1000, np.uint64),
        offsets=np.cumsum([0, *(len(each) for each in slices)]).astype(np.int64),
        page=page, touches=touches, misses=touches, sequential=np.zeros(len(page), np.uint32),
        writes=(page % 2).astype(np.uint32), node=np.zeros(len(page), np.int16),
    )  # fmt: skip
    pages = max(region.first_page + region.pages for region in regions)
    return MemoryTrace(TraceInfo("replayed", "workload", slice_ns=10_000_000), pages, regions, [batch])


TWO = (Region(0, 4, 0, 0x10000, "a"), Region(4, 4, 1, 0x90000, "b"))


def replay(place: Path, slices: list[dict[int, int]], loop: bool = False) -> Replay:
    write_recording(place / "r.pghot", trace(slices, TWO))
    source = Replay(SysRoot(), str(place / "r.pghot"), loop)
    source.start(Watched((space_of(500, 1), space_of(600, 2))), lambda path, value: None)
    return source


def test_a_recording_comes_at_its_own_pace(tmp_path: Path) -> None:
    source = replay(tmp_path, [{0: 1}, {1: 2, 5: 3}, {0: 1}])
    (first,) = source.poll(1000)
    assert (first.pid.tolist(), first.address.tolist()) == ([500], [0x10000])
    assert source.poll(1009) == []
    (second,) = source.poll(1010)
    assert second.pid.tolist() == [500, 600]
    assert second.address.tolist() == [0x11000, 0x91000]
    assert second.count.tolist() == [2, 3]
    assert second.write.tolist() == [True, True]
    assert not second.hint_fault
    assert len(source.poll(5000)) == 1
    assert source.poll(9000) == []
    assert source.counters() == {"replay_slices": 3}
    assert "r.pghot" in source.sampling()
    source.stop()
    assert source.poll(9001) == []


def test_a_loop_begins_again(tmp_path: Path) -> None:
    source = replay(tmp_path, [{0: 1}, {1: 1}], loop=True)
    assert len(source.poll(0)) == 1
    assert len(source.poll(10)) == 1
    assert len(source.poll(10)) == 1  # the first slice of the second time
    assert source.counters() == {"replay_slices": 3}


def test_programs_that_are_not_there_are_foreign(tmp_path: Path) -> None:
    source = replay(tmp_path, [{0: 1}, {4: 1}])
    source.watch(Watched((space_of(500),)))
    assert [seen.pid.tolist() for seen in source.poll(0) + source.poll(10)] == [[500], [0]]
    source.set_effort(0.5)


def test_a_replay_without_a_recording() -> None:
    assert Replay(SysRoot()).needs()[0].remedy == "name one: --set replay.file=FILE"
    with pytest.raises(UsageError, match="no recording named"):
        Replay(SysRoot()).start(Watched(()), lambda path, value: None)
    source = Replay(SysRoot(), "/no/such.pghot")
    with pytest.raises(UsageError, match=r"/no/such\.pghot"):
        source.start(Watched(()), lambda path, value: None)


@given(st.lists(st.dictionaries(st.integers(0, 7), st.integers(1, 9), max_size=4), min_size=1, max_size=8))
def test_nothing_is_lost_or_doubled_however_it_is_polled(slices: list[dict[int, int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        source = replay(Path(place), slices)
        total = 0
        for now_ms in range(0, 10 * len(slices) + 10, 7):
            total += sum(int(seen.count.sum()) for seen in source.poll(now_ms))
        assert total == sum(sum(each.values()) for each in slices)
        assert source.counters() == {"replay_slices": len(slices)}


def test_a_ring_is_read_across_its_end(tiers: SysRoot, ring: FakeRing) -> None:
    source = Faults(tiers)
    source.start(Watched(()), lambda path, value: None)
    ring.head = ring.tail = RING - 24
    ring.data = ring_of(b"", 0, RING)
    ring.write(fault(500, 0x1000, 0) + fault(501, 0x2000, 1))
    (seen,) = source.poll(0)
    assert seen.pid.tolist() == [500, 501]
    assert seen.address.tolist() == [0x1000, 0x2000]


@pytest.mark.parametrize("name", ["softdirty", "idle", "damon", "lrugen"])
def test_a_period_below_zero_is_refused(name: str) -> None:
    """It would have the source look in every round, of 100 ms."""
    with pytest.raises(UsageError, match=f"{name}.period_ms is -4, which is less than it can be"):
        LIVE_SOURCES.make(name, SysRoot(Path("/no/such/tree")), period_ms=-4)
