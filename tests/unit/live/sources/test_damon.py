"""DAMON as a source: its tracepoint decoded, its regions turned into pages, its sysfs written and refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.scan_trees import ALL_CAPABILITIES, Process, get, put, watched
from pghot.errors import NotPermittedError, PghotError, UnsupportedError, UsageError
from pghot.kernel.damon_decode import decode
from pghot.kernel.damon_records import (
    ACCESSES,
    FIELDS,
    REGIONS,
    START,
    TARGET,
    Regions,
    newest_of,
    parse_format,
)
from pghot.kernel.damon_sysfs import KDAMONDS, NUMBER, STATE
from pghot.kernel.damon_trace import EVENT
from pghot.kernel.iomem import system_ram
from pghot.kernel.needs import require
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space
from pghot.live.sources import damon
from pghot.live.sources.damon import Damon, pages_in
from references.kernel.damon_decode import decode_reference

# As Linux 6.12 shows it.
FORMAT = """\
name: damon_aggregated
ID: 734
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:unsigned long target_id;\toffset:8;\tsize:8;\tsigned:0;
\tfield:unsigned int nr_regions;\toffset:16;\tsize:4;\tsigned:0;
\tfield:unsigned long start;\toffset:24;\tsize:8;\tsigned:0;
\tfield:unsigned long end;\toffset:32;\tsize:8;\tsigned:0;
\tfield:unsigned int nr_accesses;\toffset:40;\tsize:4;\tsigned:0;
\tfield:unsigned int age;\toffset:44;\tsize:4;\tsigned:0;

print fmt: "target_id=%lu nr_regions=%u %lu-%lu: %u %u", REC->target_id, REC->nr_regions, REC->start, REC->end
"""
LAYOUT = parse_format(FORMAT)
NO_U64, NO_U32 = np.empty(0, np.uint64), np.empty(0, np.uint32)


# ---- the tracepoint


def test_the_format_is_read_from_the_kernel() -> None:
    assert LAYOUT.tolist() == [[8, 8], [16, 4], [24, 8], [32, 8], [40, 4], [44, 4]]


@given(st.text() | st.lists(st.sampled_from(FORMAT.splitlines())).map("\n".join))
def test_a_format_of_another_form_is_a_value_error(text: str) -> None:
    try:
        layout = parse_format(text)
    except ValueError:
        return
    assert layout.shape == (len(FIELDS), 2)


def sample(values: Sequence[int], raw_bytes: int = 52) -> bytes:
    """A PERF_RECORD_SAMPLE with the raw data of one region, as the kernel writes it."""
    raw = bytearray(raw_bytes)
    for value, (offset, size) in zip(values, LAYOUT.tolist(), strict=True):
        if offset + size <= raw_bytes:
            raw[offset : offset + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")
    body = len(raw).to_bytes(4, "little") + raw
    return (9).to_bytes(4, "little") + b"\0\0" + (8 + len(body)).to_bytes(2, "little") + body


def lost(count: int) -> bytes:
    header = (2).to_bytes(4, "little") + b"\0\0" + (24).to_bytes(2, "little")
    return header + (7).to_bytes(8, "little") + count.to_bytes(8, "little")


small = st.integers(0, 2**32 - 1)
values = st.tuples(
    st.integers(0, 9), small, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), small, small
)
records = st.one_of(
    values.map(sample),
    st.integers(0, 1000).map(lost),
    st.just(sample((0,) * 6, 44)),
    st.binary(min_size=8, max_size=8),
)


@settings(deadline=None)
@given(written=st.lists(records, max_size=12), begin=st.integers(0, 255), room=st.integers(0, 12))
def test_records_are_decoded_as_the_reference_does(written: list[bytes], begin: int, room: int) -> None:
    """Also across the end of the ring, with too little room, and with records that are none."""
    data, tail = b"".join(written), 8 * begin
    ring = bytearray(2048)
    for i, byte in enumerate(data):
        ring[(tail + i) % len(ring)] = byte
    got: list[list[Any]] = []
    for function in (decode, decode_reference):
        out, counts = np.zeros((6, room), np.uint64), np.zeros(3, np.int64)
        function(np.frombuffer(bytes(ring), np.uint32), tail, tail + len(data), LAYOUT, out, counts)
        got.append([out.tolist(), counts.tolist()])
    assert got[0] == got[1]


def test_a_ring_of_regions_gives_them_back() -> None:
    regions = [(0, 2, 4096 * i, 4096 * (i + 1), 20 - i, i) for i in range(2)]
    data = b"".join(map(sample, regions)) + lost(3)
    ring = np.frombuffer(data.ljust(256, b"\0"), np.uint32)
    out, counts = np.zeros((6, 8), np.uint64), np.zeros(3, np.int64)
    decode(ring, 0, len(data), LAYOUT, out, counts)
    assert counts.tolist() == [len(data), 2, 3]
    assert out[:, :2].T.tolist() == [list(region) for region in regions]


def table(*aggregations: Sequence[tuple[int, int]]) -> np.ndarray:
    """Records of aggregations, each a list of (target, regions of it)."""
    rows = [
        (target, count, 8192 * i, 8192 * (i + 1), stamp, 0)
        for stamp, targets in enumerate(aggregations)
        for target, count in targets
        for i in range(count)
    ]
    return np.array(rows, np.uint64).reshape(-1, 6).T


def test_the_newest_whole_aggregation_of_each_target() -> None:
    records = table([(0, 3), (1, 1)], [(0, 2), (1, 4)], [(0, 5), (1, 2)])
    found = newest_of(records[:, :-1])  # the last region of the last target is not there yet
    assert [(each.target, len(each.start), set(each.accesses.tolist())) for each in found] == [
        (0, 5, {2}),
        (1, 4, {1}),
    ]


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), max_size=5),
    st.integers(0, 8),
    st.integers(0, 8),
)
def test_of_torn_aggregations_only_whole_groups_are_taken(
    shape: list[list[int]], head: int, tail: int
) -> None:
    records = table(*[list(enumerate(counts)) for counts in shape])
    records = records[:, head : max(head, records.shape[1] - tail)]
    for each in newest_of(records):
        mine = (records[TARGET] == each.target) & (records[ACCESSES] == each.accesses[0])
        assert len(each.start) == np.count_nonzero(mine) == records[REGIONS][mine][0]
        assert each.start.tolist() == sorted(records[START][mine].tolist())


# ---- regions to pages


edges = st.sets(st.integers(0, 60), max_size=14).map(sorted)


@given(edges, edges, st.data())
def test_pages_of_regions_are_those_that_lie_in_the_ranges(
    ranges: list[int], bounds: list[int], data: st.DataObject
) -> None:
    def pairs(each: list[int]) -> np.ndarray:
        return np.array(each[: len(each) // 2 * 2], np.uint64).reshape(-1, 2) * np.uint64(4096)

    movable, regions = pairs(ranges), pairs(bounds)
    counts = np.array(
        data.draw(st.lists(st.integers(1, 20), min_size=len(regions), max_size=len(regions))), np.uint32
    )
    space = Space(1, Process.__new__(Process), "p", movable[:, 0], movable[:, 1])  # type: ignore[arg-type]
    address, count = pages_in(regions[:, 0], regions[:, 1], counts, space)
    expected = {
        at: int(counts[i])
        for i, (start, end) in enumerate(regions.tolist())
        for at in range(start, end, 4096)
        if any(low <= at < high for low, high in movable.tolist())
    }
    assert dict(zip(address.tolist(), count.tolist(), strict=True)) == expected
    assert len(address) == len(expected), "no page twice"


# ---- the source over a tree


def damon_tree(tree: Path, operations: str = "vaddr\npaddr\n") -> SysRoot:
    put(tree, NUMBER, "0\n")
    put(tree, f"{KDAMONDS}/0/state", "off\n")
    put(tree, f"{KDAMONDS}/0/pid", "77\n")
    put(tree, f"{KDAMONDS}/0/contexts/nr_contexts", "0\n")
    context = f"{KDAMONDS}/0/contexts/0"
    put(tree, f"{context}/avail_operations", operations)
    regions = [f"targets/0/regions/{i}/{name}" for i in range(3) for name in ("start", "end")]
    for name in (
        "operations", "monitoring_attrs/intervals/sample_us", "monitoring_attrs/intervals/aggr_us",
        "monitoring_attrs/intervals/update_us", "monitoring_attrs/nr_regions/min", "monitoring_attrs/nr_regions/max",
        "targets/nr_targets", "targets/0/pid_target", "targets/1/pid_target", "targets/0/regions/nr_regions", *regions,
    ):  # fmt: skip
        put(tree, f"{context}/{name}")
    put(tree, f"{EVENT}/id", "734\n")
    put(tree, f"{EVENT}/format", FORMAT)
    put(tree, "/proc/sys/kernel/perf_event_paranoid", "2\n")
    put(tree, "/proc/self/status", ALL_CAPABILITIES)
    put(tree, "/proc/iomem", IOMEM)
    return SysRoot(tree)


IOMEM = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
00100000-7ffdefff : System RAM
  01000000-01ffffff : Kernel code
290000000-2bfffffff : CXL Window 0
  290000000-2bfffffff : region0
    290000000-2bfffffff : dax0.0
      290000000-2bfffffff : System RAM (kmem)
"""


class FakeTrace:
    """In the place of the ring: what the kdamond found since the last poll."""

    opened: list[tuple[int, int]] = []  # noqa: RUF012
    found: list[Regions] = []  # noqa: RUF012

    def __init__(self, root: SysRoot, kdamond_pid: int, max_regions: int) -> None:
        FakeTrace.opened.append((kdamond_pid, max_regions))
        self.lost = 0

    def newest(self) -> list[Regions]:
        found, FakeTrace.found = FakeTrace.found, []
        return found

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _fake_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeTrace.opened, FakeTrace.found = [], []
    monkeypatch.setattr(damon, "RegionTrace", FakeTrace)


def region(target: int, start: int, end: int, accesses: int, age: int = 0) -> Regions:
    return Regions(
        target, np.array([start], np.uint64), np.array([end], np.uint64), np.array([accesses], np.uint32),
        np.array([age], np.uint32),
    )  # fmt: skip


class Started:
    """A source that runs on a tree, with the knobs it set."""

    def __init__(self, tree: Path, *processes: Process, **options: Any) -> None:
        self.tree, self.root, self.knobs = tree, damon_tree(tree), list[tuple[str, str]]()
        self.source = Damon(self.root, **options)
        self.source.start(watched(*processes), self.set)

    def set(self, path: str, value: str) -> None:
        self.knobs.append((path, value))
        self.root.write(path, value)

    def wrote(self, name: str) -> str:
        return get(self.tree, f"{KDAMONDS}/0/contexts/0/{name}")


def test_it_makes_one_kdamond_through_the_journal(tmp_path: Path) -> None:
    one, two = Process(tmp_path, 100, 1, 16, 64), Process(tmp_path, 200, 2, 16, 128)
    run = Started(tmp_path, one, two, sample_us=2000, max_regions=500)
    assert run.knobs == [(NUMBER, "1"), (STATE, "on")], "undone in reverse: off, then gone"
    assert run.wrote("operations") == "vaddr"
    assert run.wrote("targets/nr_targets") == "2"
    assert [run.wrote(f"targets/{i}/pid_target") for i in range(2)] == ["100", "200"]
    assert run.wrote("monitoring_attrs/intervals/sample_us") == "2000"
    assert run.wrote("monitoring_attrs/nr_regions/max") == "1000", "500 for each program"
    assert FakeTrace.opened == [(77, 1000)]


def test_regions_become_pages_of_the_target_that_they_are_of(tmp_path: Path) -> None:
    """Forked programs have the same addresses: the place of a region does not tell whose it is."""
    one, two = Process(tmp_path, 100, 1, 16, 64), Process(tmp_path, 200, 2, 16, 128)
    run = Started(tmp_path, one, two)
    start = one.start
    FakeTrace.found = [region(0, start - 4096, start + 8192, 7), region(1, start + 4096, start + 8192, 3)]
    found = run.source.poll(0)
    assert [(each.pid.tolist(), each.address.tolist(), each.count.tolist()) for each in found] == [
        ([100, 100], one.address(0, 1), [7, 7]),
        ([200], two.address(1), [3]),
    ]


def test_regions_below_its_bounds_are_not_reported(tmp_path: Path) -> None:
    one = Process(tmp_path, 100, 1, 16, 64)
    run = Started(tmp_path, one, min_accesses=5, min_age=2)
    for accesses, age, pages in ((4, 9, 0), (9, 1, 0), (5, 2, 1), (0, 9, 0)):
        FakeTrace.found = [region(0, one.start, one.start + 4096, accesses, age)]
        run.source._due_ms = 0
        assert sum(map(len, run.source.poll(0))) == pages, (accesses, age)


def test_between_reports_the_newest_is_kept(tmp_path: Path) -> None:
    one = Process(tmp_path, 100, 1, 16, 64)
    run = Started(tmp_path, one, period_ms=500)
    assert run.source.poll(0) == []
    for now_ms, accesses in ((100, 3), (400, 8)):
        FakeTrace.found = [region(0, one.start, one.start + 4096, accesses)]
        assert run.source.poll(now_ms) == []
    (found,) = run.source.poll(500)
    assert found.count.tolist() == [8]
    assert run.source.poll(1000) == [], "nothing twice"


def test_other_programs_are_committed_to_the_running_kdamond(tmp_path: Path) -> None:
    one, two = Process(tmp_path, 100, 1, 16, 64), Process(tmp_path, 200, 2, 16, 128)
    run = Started(tmp_path, one)
    run.source.watch(watched(one))
    assert len(FakeTrace.opened) == 1, "nothing changed"
    run.source.watch(watched(two))
    assert get(tmp_path, STATE) == "commit"
    assert run.wrote("targets/0/pid_target") == "200"
    FakeTrace.found = [region(0, two.start, two.start + 4096, 5)]
    assert run.source.poll(10_000)[0].pid.tolist() == [200]


def test_a_kdamond_that_ended_while_its_programs_run_is_said(tmp_path: Path) -> None:
    one = Process(tmp_path, 100, 1, 16, 64)
    run = Started(tmp_path, one)
    assert run.source.degraded() == []
    put(tmp_path, STATE, "off\n")
    (told,) = run.source.degraded()
    assert told.startswith("the kdamond has ended while its programs run")
    run.source.watch(watched())
    assert run.source.degraded() == [], "its programs ended, and it with them"


def test_a_kdamond_that_ended_with_its_programs_is_switched_on_again(tmp_path: Path) -> None:
    one, two = Process(tmp_path, 100, 1, 16, 64), Process(tmp_path, 200, 2, 16, 128)
    run = Started(tmp_path, one)
    run.source.watch(watched())
    put(tmp_path, STATE, "off\n")
    run.source.watch(watched(two))
    assert run.knobs[2:] == [(STATE, "on")]
    assert len(FakeTrace.opened) == 2, "the new thread is another"


def test_a_refused_list_of_programs_keeps_the_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that just ended is refused; what is then found is still of the targets before."""
    one, two = Process(tmp_path, 100, 1, 16, 64), Process(tmp_path, 200, 2, 16, 128)
    run = Started(tmp_path, one)

    def refuse(kdamond: object) -> None:
        raise PghotError("DAMON: cannot write 'commit'")

    monkeypatch.setattr(damon.Kdamond, "commit", refuse)
    run.source.watch(watched(two, one))
    assert run.source.counters()["damon_refused_targets"] == 1
    FakeTrace.found = [region(0, one.start, one.start + 4096, 5)]
    assert run.source.poll(10_000)[0].pid.tolist() == [100]


def test_physical_memory_is_turned_into_the_programs_pages(tmp_path: Path) -> None:
    one, two = Process(tmp_path, 100, 1, 16, 64), Process(tmp_path, 200, 2, 16, 128)
    two.frames[3] = 70
    two.write()
    run = Started(tmp_path, one, two, operations="paddr")
    assert run.knobs == [(NUMBER, "1"), (STATE, "on")]
    assert run.wrote("operations") == "paddr"
    assert run.wrote("targets/0/regions/nr_regions") == "3"
    assert int(run.wrote("targets/0/regions/2/end")) == 0x2C0000000
    FakeTrace.found = [region(0, 70 * 4096, 72 * 4096, 9)]
    found = {each.pid[0]: each.address.tolist() for each in run.source.poll(0)}
    assert found == {100: one.address(6, 7), 200: two.address(3)}


def test_where_the_memory_is(tmp_path: Path) -> None:
    put(tmp_path, "/proc/iomem", IOMEM)
    assert system_ram(SysRoot(tmp_path)) == [
        (0x1000, 0x9FC00), (0x100000, 0x7FFDF000), (0x290000000, 0x2C0000000),
    ]  # fmt: skip
    put(tmp_path, "/proc/iomem", "00000000-00000000 : System RAM\n" * 2)
    assert system_ram(SysRoot(tmp_path)) == [], "hidden from this user"


def refusal(root: SysRoot, **options: Any) -> PghotError:
    with pytest.raises(PghotError) as caught:
        require("damon", Damon(root, **options).needs())
    return caught.value


def test_a_kdamond_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    root = damon_tree(tmp_path)
    put(tmp_path, NUMBER, "2\n")
    error = refusal(root)
    assert isinstance(error, UnsupportedError)
    assert "2 kdamond(s) of somebody else" in str(error)
    assert get(tmp_path, NUMBER) == "2\n"


def test_the_kernels_own_user_of_damon_is_named(tmp_path: Path) -> None:
    root = damon_tree(tmp_path)
    put(tmp_path, "/sys/module/damon_stat/parameters/enabled", "Y\n")
    assert refusal(root).hint == "echo N > /sys/module/damon_stat/parameters/enabled"


def test_what_the_kernel_lacks_is_named(tmp_path: Path) -> None:
    put(tmp_path, "/proc/self/status", ALL_CAPABILITIES)
    assert "CONFIG_DAMON_SYSFS" in str(refusal(SysRoot(tmp_path)).hint)
    root = damon_tree(tmp_path)
    (tmp_path / EVENT.lstrip("/") / "id").unlink()
    assert "damon_aggregated" in str(refusal(root))


def test_tracefs_that_is_not_mounted_is_a_matter_of_rights(tmp_path: Path) -> None:
    root = damon_tree(tmp_path)
    (tmp_path / EVENT.lstrip("/") / "id").unlink()
    for name in ("format", "", "..", "../.."):
        path = (tmp_path / EVENT.lstrip("/") / name).resolve()
        path.unlink() if path.is_file() else path.rmdir()
    error = refusal(root)
    assert isinstance(error, NotPermittedError)
    assert "mount -t tracefs" in str(error.hint)


def test_operations_that_the_kernel_lacks(tmp_path: Path) -> None:
    root = damon_tree(tmp_path, "paddr\n")
    with pytest.raises(UnsupportedError, match="no 'vaddr' operations"):
        Damon(root).start(watched(), root.write)


def test_hidden_physical_addresses_are_a_matter_of_rights(tmp_path: Path) -> None:
    root = damon_tree(tmp_path)
    put(tmp_path, "/proc/iomem", "00000000-00000000 : System RAM\n")
    assert isinstance(refusal(root, operations="paddr"), NotPermittedError)


@pytest.mark.parametrize(
    "options",
    [
        {"operations": "fvaddr"},
        {"sample_us": 200_000},
        {"sample_us": 0},
        {"min_regions": 2},
        {"max_regions": 5},
    ],
)
def test_options_that_damon_would_refuse(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Damon(SysRoot(tmp_path), **options)
