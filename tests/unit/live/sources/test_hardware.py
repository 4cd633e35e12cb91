"""ibs, pebs, spe and chmu: what they ask of the kernel, on captured PMUs, and what they make of byte-exact rings.

None of them has run on its hardware here: there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.machine_trees import cxl_tree, put
from builders.rings import hot_list, memory_sample, record, ring_of, spe_record
from pghot import mem_data_src as mem
from pghot.errors import NotPermittedError, UnsupportedError, UsageError
from pghot.kernel.perf_event import EventSpec
from pghot.kernel.pmu import read_pmu
from pghot.kernel.process import Identity
from pghot.kernel.rmap import ReverseMap
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space, Watched
from pghot.live.sources import LIVE_SOURCES, perf_sampling, spe
from pghot.live.sources import chmu as chmu_live
from pghot.live.sources import ibs as ibs_live
from pghot.live.sources import pebs as pebs_live

PID, FOREIGN = 1234, 99
PAGE = 4096
DEVICES = "/sys/bus/event_source/devices"
LOAD, STORE = mem.OP_LOAD, mem.OP_STORE


def level(*bits: int, number: int = 0, operation: int = LOAD) -> int:
    """A data source from mem_lvl bits, mem_lvl_num and mem_op."""
    return operation | sum(bits) << mem.LVL_SHIFT | number << mem.LVL_NUM_SHIFT


LOCAL_RAM = level(mem.LVL_HIT, mem.LVL_LOC_RAM, number=mem.NUM_RAM)
L2_HIT = level(mem.LVL_HIT, 0x20, number=2)
REMOTE_CACHE = level(mem.LVL_HIT, 0x400, number=0xB) | 1 << 37
STORE_MISS = level(mem.LVL_L1, mem.LVL_MISS, operation=STORE)
STORE_HIT = level(mem.LVL_L1, mem.LVL_HIT, operation=STORE)
UNKNOWN_STORE = level(mem.LVL_NA, number=mem.NUM_NA, operation=STORE)


@pytest.mark.parametrize(
    ("data_src", "memory"),
    [
        (LOCAL_RAM, True),
        (level(mem.LVL_HIT, mem.LVL_REM_RAM1), True),
        (level(mem.LVL_HIT, number=mem.NUM_CXL), True),
        (level(mem.LVL_HIT, number=mem.NUM_PMEM) | 1 << 37, True),
        (level(mem.LVL_MISS, number=mem.NUM_L3), True),
        (level(mem.LVL_MISS, mem.LVL_L3), True),
        (level(mem.LVL_HIT, mem.LVL_L3, number=mem.NUM_L3), False),
        (L2_HIT, False),
        (REMOTE_CACHE, False),
        (STORE_MISS, False),
        (UNKNOWN_STORE, False),
        (0, False),
    ],
)  # fmt: skip
def test_what_counts_as_memory(data_src: int, memory: bool) -> None:
    assert mem.memory_hits(np.array([data_src], np.uint64)).tolist() == [memory]


# ---- PMUs as sysfs shows them


def cpus(root: Path, online: str = "0-3") -> SysRoot:
    put(root, "/sys/devices/system/cpu/online", online)
    put(root, "/sys/devices/system/cpu/possible", online)
    put(root, "/sys/devices/system/node/node0/cpulist", "0-1")
    put(root, "/sys/devices/system/node/node1/cpulist", "2-3")
    put(root, "/proc/sys/kernel/osrelease", "6.12.9-amd64")
    put(root, "/proc/sys/kernel/perf_event_paranoid", "2")
    put(root, "/proc/self/status", "CapEff:\t000001ffffffffff")
    return SysRoot(root)


def pmu_files(root: Path, name: str, **files: str) -> None:
    for path, text in files.items():
        put(root, f"{DEVICES}/{name}/{path.replace('__', '/')}", text)


def ibs_tree(root: Path, zen4: bool = True, swfilt: bool = True) -> SysRoot:
    pmu_files(root, "ibs_op", type="11", format__cnt_ctl="config:19", format__rand_en="config:57")
    if zen4:
        pmu_files(root, "ibs_op", format__l3missonly="config:16", caps__zen4_ibs_extensions="1")
    if swfilt:
        pmu_files(root, "ibs_op", format__swfilt="config2:0")
    return cpus(root)


def pebs_tree(
    root: Path, name: str = "cpu", aux: bool = False, precise: str = "3", listed: str = ""
) -> SysRoot:
    pmu_files(
        root, name, type="4" if name == "cpu" else "10", format__event="config:0-7", format__umask="config:8-15",
        format__ldlat="config1:0-15", format__frontend="config1:0-23", format__odd="config9:0",
        caps__max_precise=precise, events__mem_loads="event=0xcd,umask=0x1,ldlat=3",
        events__mem_stores="event=0xd0,umask=0x82",
    )  # fmt: skip
    events = root / DEVICES.lstrip("/") / name / "events"
    for event in ("mem-loads", "mem-stores"):
        (events / event.replace("-", "_")).rename(events / event)
    put(root, f"{DEVICES}/{name}/events/mem-loads.unit", "n/a")
    if aux:
        put(root, f"{DEVICES}/{name}/events/mem-loads-aux", "event=0x03,umask=0x82")
    if listed:
        put(root, f"{DEVICES}/{name}/cpus", listed)
    return cpus(root)


def spe_tree(root: Path, midr: str = "0x00000000410fd0c1") -> SysRoot:
    pmu_files(
        root, "arm_spe_0", type="8", cpumask="0-3", format__ts_enable="config:0", format__pa_enable="config:1",
        format__jitter="config:16", format__branch_filter="config:32", format__load_filter="config:33",
        format__store_filter="config:34", format__event_filter="config1:0-63", format__min_latency="config2:0-11",
    )  # fmt: skip
    for cpu in range(4):
        put(root, f"/sys/devices/system/cpu/cpu{cpu}/regs/identification/midr_el1", midr)
    return cpus(root)


def chmu_tree(root: Path, region: bool = True) -> SysRoot:
    for name, number in (("cxl_hmu_mem0.0.0", "20"), ("cxl_hmu_mem0.0.1", "21"), ("cxl_hmu_mem1.0.0", "22")):
        pmu_files(
            root, name, type=number, cpumask="2", format__epoch_type="config:0-1", format__access_type="config:2-9",
            format__epoch_scale="config:10-13", format__epoch_multiplier="config:14-25",
            format__randomized_downsampling="config:26", format__downsampling_factor="config:27-34",
            format__hotness_threshold="config1:0-31", format__hotness_granual="config1:32-63",
        )  # fmt: skip
    if region:
        cxl_tree(root)
    return cpus(root)


def test_formats_spread_values_over_their_bits(tmp_path: Path) -> None:
    pmu_files(tmp_path, "x", type="7", format__event="config:0-7,32-35", format__flag="config2:63")
    pmu = read_pmu(cpus(tmp_path), "x")
    assert pmu is not None
    assert pmu.config({"event": 0xABC, "flag": 1}) == {
        "config": 0xA000000BC,
        "config1": 0,
        "config2": 1 << 63,
    }
    with pytest.raises(UnsupportedError, match="x has no 'ldlat'"):
        pmu.config({"ldlat": 3})
    with pytest.raises(UnsupportedError, match="does not fit"):
        pmu.config({"event": 1 << 12})
    assert read_pmu(cpus(tmp_path), "y") is None


def test_ibs_asks_the_hardware_and_the_kernel_for_what_they_can(tmp_path: Path) -> None:
    def spec(name: str, zen4: bool, swfilt: bool) -> EventSpec:
        pmu = read_pmu(ibs_tree(tmp_path / name, zen4, swfilt), "ibs_op")
        assert pmu is not None
        return ibs_live.event(pmu, 10_000)

    new, zen3, old = spec("new", True, True), spec("zen3", False, True), spec("old", True, False)
    assert (new.type, new.config, new.config2) == (11, 1 << 19 | 1 << 16, 1)
    assert new.flags == ("exclude_kernel", "exclude_hv")
    assert (zen3.config, zen3.config2) == (1 << 19, 1)
    assert (old.config, old.config2, old.flags) == (1 << 19 | 1 << 16, 0, ())
    assert new.sample_period == 10_000


def test_ibs_without_the_l3_filter_samples_ten_times_less(tmp_path: Path) -> None:
    assert "one op in 10000, that missed the L3" in ibs_live.Ibs(ibs_tree(tmp_path / "a")).sampling()
    plain = ibs_live.Ibs(ibs_tree(tmp_path / "b", zen4=False))
    assert "one op in 100000, of any kind" in plain.sampling()
    plain.set_effort(0.3)
    assert "one op in 333344," in plain.sampling()  # a multiple of 16


def test_pebs_takes_events_from_the_kernel(tmp_path: Path) -> None:
    pmu = read_pmu(pebs_tree(tmp_path), "cpu")
    assert pmu is not None
    loads = pebs_live.load_event(pmu, 10_007, 128)
    assert (loads.type, loads.config, loads.config1, loads.precise_ip) == (4, 0x1CD, 128, 3)
    assert pebs_live.named_event(pmu, "mem-stores", 100_003).config == 0x82D0
    assert pebs_live.leader_of(pmu) is None


def test_pebs_leads_the_group_where_the_kernel_lists_the_leader(tmp_path: Path) -> None:
    pmu = read_pmu(pebs_tree(tmp_path, "cpu_core", aux=True), "cpu_core")
    assert pmu is not None
    leader = pebs_live.leader_of(pmu)
    assert leader is not None
    assert (leader.type, leader.config, leader.sample_period) == (10, 0x8203, 0)


def test_spe_asks_for_physical_addresses(tmp_path: Path) -> None:
    pmu = read_pmu(spe_tree(tmp_path), "arm_spe_0")
    assert pmu is not None
    spec = spe.event(pmu, 10_000, 128)
    assert (spec.type, spec.config, spec.config2) == (8, 1 << 1 | 1 << 16 | 1 << 33 | 1 << 34, 128)


def test_chmu_s_event(tmp_path: Path) -> None:
    pmu = read_pmu(chmu_tree(tmp_path), "cxl_hmu_mem0.0.0")
    assert pmu is not None
    spec = chmu_live.event(pmu, 1000, 16, 4096, 4)
    assert spec.config == 6 << 2 | 2 << 10 | 1000 << 14 | 2 << 27
    assert spec.config1 == 16 | 12 << 32
    assert spec.flags == ("disabled",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch_ms": 5000_001}, "epoch"),
        ({"unit_bytes": 100}, "unit_bytes"),
        ({"downsampling": 3}, "downsampling"),
    ],
)
def test_chmu_refuses_what_the_driver_cannot_express(
    tmp_path: Path, options: dict[str, int], message: str
) -> None:
    source = chmu_live.Chmu(chmu_tree(tmp_path), **options)
    with pytest.raises(UsageError, match=message):
        source.start(Watched(()), lambda path, value: None)


@pytest.mark.parametrize(
    ("name", "option"),
    [("ibs", "period_ops"), ("pebs", "period_loads"), ("pebs", "period_stores"), ("spe", "period_ops")],
)
def test_a_period_of_zero_is_refused(name: str, option: str) -> None:
    with pytest.raises(UsageError, match=option):
        LIVE_SOURCES.make(name, SysRoot(Path("/no/such/tree")), **{option: 0})


# ---- needs


@pytest.mark.parametrize("name", ["ibs", "pebs", "spe", "chmu"])
def test_without_the_hardware_the_error_names_it(name: str, tmp_path: Path) -> None:
    source = LIVE_SOURCES.make(name, cpus(tmp_path))
    assert name in LIVE_SOURCES.names()
    with pytest.raises(UnsupportedError, match=rf"{name}: no PMU") as caught:
        source.start(Watched(()), lambda path, value: None)
    assert caught.value.hint
    source.stop()


@pytest.mark.parametrize(
    ("name", "tree"), [("ibs", ibs_tree), ("pebs", pebs_tree), ("spe", spe_tree), ("chmu", chmu_tree)]
)
def test_without_the_capability_the_error_names_it(
    name: str, tree: Callable[[Path], SysRoot], tmp_path: Path
) -> None:
    root = tree(tmp_path)
    assert [need.verdict for need in LIVE_SOURCES.make(name, root).needs()] == ["yes"] * len(
        LIVE_SOURCES.make(name, root).needs()
    )
    put(tmp_path, "/proc/self/status", "CapEff:\t0000000000000000")
    with pytest.raises(NotPermittedError, match="perf_event_paranoid is 2 and CAP_PERFMON is missing"):
        LIVE_SOURCES.make(name, root).start(Watched(()), lambda path, value: None)


def test_old_kernels_hidden_precision_and_unused_devices_are_told(tmp_path: Path) -> None:
    old = ibs_tree(tmp_path / "old")
    put(tmp_path / "old", "/proc/sys/kernel/osrelease", "5.15.0")
    for source, message in (
        (ibs_live.Ibs(old), "Linux 5.15 has none"),
        (pebs_live.Pebs(pebs_tree(tmp_path / "vm", precise="0")), "cpu samples without data addresses"),
        (
            chmu_live.Chmu(chmu_tree(tmp_path / "idle", region=False)),
            "no memory of such a device is in a region",
        ),
    ):
        with pytest.raises(UnsupportedError, match=message):
            source.start(Watched(()), lambda path, value: None)


# ---- rings


class StandIn:
    """A ring whose bytes the test writes. Starts near the end, so that everything wraps around."""

    SIZE = 1 << 14

    def __init__(self, cpu: int) -> None:
        self.cpu = cpu
        self.tail = self.head = self.aux_tail = self.aux_head = self.SIZE - 32
        self.data = self.aux = np.zeros(self.SIZE, np.uint8)
        self.period = 0
        self.calls: list[str] = []

    def write(self, data: bytes) -> None:
        self.data, self.head = ring_of(data, self.tail, self.SIZE), self.tail + len(data)

    def write_aux(self, data: bytes) -> None:
        self.aux, self.aux_head = ring_of(data, self.aux_tail, self.SIZE), self.aux_tail + len(data)

    def consume(self, tail: int) -> None:
        self.tail = tail

    def consume_aux(self, tail: int) -> None:
        self.aux_tail = tail

    def set_period(self, period: int) -> None:
        self.period = period

    def idle_ns(self) -> int:
        return 3_000_000

    def enable(self) -> None:
        self.calls.append("enable")

    def disable(self) -> None:
        self.calls.append("disable")

    def close(self) -> None:
        self.calls.append("close")


class Kernel:
    """Stands in for perf_event_open; remembers what was opened."""

    def __init__(self) -> None:
        self.opened: list[tuple[EventSpec, str, tuple[int, ...], EventSpec | None]] = []
        self.rings: list[StandIn] = []

    def open(
        self, root: SysRoot, spec: EventSpec, ring_bytes: int, cgroup: str = "", cpus: Any = None,
        aux_bytes: int = 0, leader: EventSpec | None = None,
    ) -> list[StandIn]:  # fmt: skip
        self.opened.append((spec, cgroup, tuple(cpus), leader))
        rings = [StandIn(cpu) for cpu in cpus]
        self.rings += rings
        return rings


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    stand_in = Kernel()
    for module in (perf_sampling, spe, chmu_live):
        monkeypatch.setattr(module, "open_on_all_cpus", stand_in.open)
    return stand_in


def watched(cgroup: str = "") -> Watched:
    ends = np.array([1 << 40], np.uint64)
    return Watched(
        (Space(1, Identity(PID, 1, (0, 0, 0)), "program", np.array([0], np.uint64), ends),), cgroup
    )


def start(source: Any, cgroup: str = "") -> None:
    source.start(watched(cgroup), lambda path, value: None)


def seen(source: Any, now_ms: int = 0) -> list[tuple[int, int, int, int, bool]]:
    """(pid, address, count, node, write) of everything that a poll reports."""
    return [
        row
        for part in source.poll(now_ms)
        for row in zip(
            part.pid.tolist(), part.address.tolist(), part.count.tolist(), part.node.tolist(), part.write.tolist(),
            strict=True,
        )
    ]  # fmt: skip


def test_ibs_reports_accesses_of_memory_by_tracked_programs(tmp_path: Path, kernel: Kernel) -> None:
    source = ibs_live.Ibs(ibs_tree(tmp_path))
    start(source, "/sys/fs/cgroup/a")
    assert kernel.opened[0][1:] == ("/sys/fs/cgroup/a", (0, 1, 2, 3), None)
    kernel.rings[0].write(
        memory_sample(PID, 0x7000, 0, LOCAL_RAM)
        + memory_sample(PID, 0x8000, 0, L2_HIT)
        + record(5, [0, 0, 0])  # throttled
        + memory_sample(FOREIGN, 0x9000, 0, LOCAL_RAM)
        + memory_sample(PID, 0, 0, LOCAL_RAM)  # no address
    )
    kernel.rings[3].write(
        memory_sample(PID, 0xA123, 3, UNKNOWN_STORE)
        + record(2, [1, 41])  # lost
        + memory_sample(PID, 1 << 63, 3, LOCAL_RAM)  # the kernel's own
    )
    assert seen(source) == [(PID, 0x7000, 1, 0, False), (PID, 0xA123, 1, 1, True)]
    assert seen(source) == []
    assert source.counters() == {
        "hwhint_total_events": 6, "hwhint_useful_events": 2, "hwhint_dropped_events": 41, "perf_throttled": 1,
        "perf_corrupt_records": 0, "perf_not_running_ms": 12,
    }  # fmt: skip
    source.set_effort(0.5)
    assert {ring.period for ring in kernel.rings} == {20_000}
    source.stop()
    assert [ring.calls for ring in kernel.rings] == [["close"]] * 4


@pytest.mark.parametrize("which", ["ibs", "pebs", "spe"])
def test_a_cgroup_that_is_made_again_gets_new_events_and_the_counters_go_on(
    tmp_path: Path, kernel: Kernel, frames: dict[int, int], which: str
) -> None:
    """Each ring was idle for 3 ms: the old ones and the new ones count."""
    source: Any = {
        "ibs": lambda: ibs_live.Ibs(ibs_tree(tmp_path)),
        "pebs": lambda: pebs_live.Pebs(pebs_tree(tmp_path)),
        "spe": lambda: spe.Spe(spe_tree(tmp_path)),
    }[which]()
    start(source, "a")
    old, opened = list(kernel.rings), list(kernel.opened)
    if which != "spe":
        old[0].write(memory_sample(PID, 0x7000, 0, LOCAL_RAM))
        assert len(seen(source)) == 1
    before = source.counters()
    source.reopen(watched("a"))
    assert all(ring.calls[-1] == "close" for ring in old)
    assert kernel.opened == opened * 2
    new = kernel.rings[len(old) :]
    if which != "spe":
        new[0].write(memory_sample(PID, 0x8000, 0, LOCAL_RAM))
        assert [row[1] for row in seen(source)] == [0x8000]
    source.watch(watched("a"))
    after = source.counters()
    assert after["perf_not_running_ms"] == 2 * before["perf_not_running_ms"] == 2 * 3 * len(old)
    assert after["hwhint_useful_events"] == 2 * before["hwhint_useful_events"]
    source.stop()
    assert all(ring.calls[-1] == "close" for ring in new)


def test_ibs_without_the_l3_filter_does_not_take_stores_of_unknown_level(
    tmp_path: Path, kernel: Kernel
) -> None:
    source = ibs_live.Ibs(ibs_tree(tmp_path, zen4=False))
    start(source)
    kernel.rings[0].write(
        memory_sample(PID, 0xA000, 0, UNKNOWN_STORE) + memory_sample(PID, 0xB000, 0, LOCAL_RAM)
    )
    assert [row[1] for row in seen(source)] == [0xB000]


def test_pebs_reports_slow_loads_and_missing_stores(tmp_path: Path, kernel: Kernel) -> None:
    source = pebs_live.Pebs(pebs_tree(tmp_path))
    start(source)
    assert [spec.sample_period for spec, _, _, _ in kernel.opened] == [10_007, 100_003]
    kernel.rings[1].write(
        memory_sample(PID, 0x7000, 1, LOCAL_RAM) + memory_sample(PID, 0x8000, 1, REMOTE_CACHE)
    )
    kernel.rings[6].write(
        memory_sample(PID, 0x9000, 2, STORE_MISS) + memory_sample(PID, 0xA000, 2, STORE_HIT)
    )
    assert seen(source) == [(PID, 0x7000, 1, 0, False), (PID, 0x9000, 1, 1, True)]
    source.set_effort(0.25)
    assert [ring.period for ring in kernel.rings] == [40_028] * 4 + [400_012] * 4


def test_pebs_opens_each_kind_of_core_on_its_own_cpus(tmp_path: Path, kernel: Kernel) -> None:
    pebs_tree(tmp_path, "cpu_core", aux=True, listed="0-1")
    source = pebs_live.Pebs(pebs_tree(tmp_path, "cpu_atom", listed="2-3"))
    start(source)
    leaders = [(cpus, leader is not None) for _, _, cpus, leader in kernel.opened]
    assert leaders == [((0, 1), True), ((0, 1), False), ((2, 3), False), ((2, 3), False)]


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Frame -> virtual page of the tracked program, in place of its page map."""
    held: dict[int, int] = {}

    def pfns(root: SysRoot, pid: int, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert pid == PID
        return np.array(list(held.values()), np.uint64), np.array(list(held), np.uint64)

    monkeypatch.setattr("pghot.kernel.rmap.pfns", pfns)
    return held


def test_spe_leads_physical_addresses_back_to_the_program(
    tmp_path: Path, kernel: Kernel, frames: dict[int, int]
) -> None:
    frames |= {0x50: 0x7F00_0000, 0x51: 0x7F00_5000}
    source = spe.Spe(spe_tree(tmp_path))
    start(source)
    ring = kernel.rings[2]
    ring.write(record(11, [0, 100, 0]) + record(11, [100, 8, 1]))  # AUX; AUX, truncated
    ring.write_aux(
        spe_record(0x50_123, events=1 << 9, virtual=0x1)  # missed the last level
        + spe_record(0x51_008, events=1 << 2, source=0xE, store=True)  # from DRAM, on a Neoverse
        + spe_record(0x51_010, events=1 << 2, source=0x8)  # L2
        + spe_record(0x77_000, events=1 << 9)  # nobody's
        + spe_record(None, events=1 << 9)
    )
    assert seen(source) == [(PID, 0x7F00_0123, 1, 1, False), (PID, 0x7F00_5008, 1, 1, True)]
    assert ring.calls == ["disable", "enable"]
    assert ring.aux_tail == ring.aux_head
    assert source.counters() == {
        "hwhint_total_events": 5, "hwhint_useful_events": 2, "perf_aux_gaps": 1, "perf_corrupt_records": 0,
        "perf_not_running_ms": 12,
    }  # fmt: skip
    source.set_effort(0.1)
    assert {each.period for each in kernel.rings} == {100_000}


def test_spe_trusts_data_sources_of_known_cpus_only(tmp_path: Path) -> None:
    known, other = spe_tree(tmp_path / "a"), spe_tree(tmp_path / "b", midr="0x00000000480fd010")
    assert spe.is_neoverse(known, 0)
    assert not spe.is_neoverse(other, 0)
    assert not spe.is_neoverse(SysRoot(tmp_path / "none"), 0)


def test_chmu_waits_for_its_epoch_and_reads_pages_of_the_program(
    tmp_path: Path, kernel: Kernel, frames: dict[int, int]
) -> None:
    base = (64 << 30) // PAGE
    # mem0 gets the even, mem1 the odd pages of the region; device addresses begin at 256 MiB.
    frames |= {base + 6: 0x7F00_0000, base + 7: 0x7F00_1000, 5: 0x7F00_2000}
    source = chmu_live.Chmu(chmu_tree(tmp_path))
    start(source)
    assert [(spec.type, cpus) for spec, _, cpus, _ in kernel.opened] == [(20, (2,)), (22, (2,))]
    mem0, mem1 = kernel.rings
    assert seen(source, 10_000) == []
    assert mem0.calls == ["enable"]
    assert seen(source, 11_000) == []
    assert mem0.calls == ["enable"]
    first = (1 << 28) // PAGE
    mem0.write_aux(hot_list([(first + 3, 500), (first + 9, 20), (1, 30)]))
    mem1.write_aux(hot_list([(first + 3, 90)]))
    assert seen(source, 11_050) == [(PID, 0x7F00_0000, 500, -1, False), (PID, 0x7F00_1000, 90, -1, False)]
    assert mem0.calls == ["enable", "disable", "enable"]
    assert source.counters()["hwhint_total_events"] == 4
    assert source.counters()["hwhint_useful_events"] == 2


def test_chmu_rests_between_epochs_at_half_effort(tmp_path: Path, kernel: Kernel) -> None:
    source = chmu_live.Chmu(chmu_tree(tmp_path))
    start(source)
    source.set_effort(0.5)
    for now_ms in range(10_000, 14_201, 50):
        seen(source, now_ms)
    assert kernel.rings[0].calls == ["enable", "disable", "enable", "disable", "enable"]
    assert "one epoch in 2.0" in source.sampling()


def test_a_program_that_ended_is_no_error(tmp_path: Path, kernel: Kernel) -> None:
    """The captured tree has no such process: its page map cannot be read."""
    source = spe.Spe(spe_tree(tmp_path))
    start(source)
    kernel.rings[0].write_aux(spe_record(0x50_123, events=1 << 9))
    assert seen(source) == []
    assert source.counters()["hwhint_useful_events"] == 0


def test_the_map_holds_frames_of_cxl_regions_only(
    tmp_path: Path, kernel: Kernel, frames: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    build = ReverseMap.build
    monkeypatch.setattr(
        ReverseMap, "build", lambda self, *rest: (asked.append(rest[2]), build(self, *rest))[1]
    )
    source = chmu_live.Chmu(chmu_tree(tmp_path))
    start(source)
    seen(source, 10_000)
    kernel.rings[0].write_aux(hot_list([(1, 1)]))
    seen(source, 10_010)
    gib = (1 << 30) // PAGE
    assert asked == [[(64 * gib, 66 * gib), (64 * gib, 66 * gib)]]
