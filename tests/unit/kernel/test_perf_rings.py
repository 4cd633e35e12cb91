"""Real rings of this machine's kernel: software events whose number and addresses are known beforehand."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from builders.machine_trees import put
from pghot.errors import NotPermittedError, PghotError, UnsupportedError, UsageError
from pghot.kernel import perf_event as pe
from pghot.kernel import perf_records as pr
from pghot.kernel.pagemap import pfns
from pghot.kernel.perf_decode import decode_samples
from pghot.kernel.perf_event import EventSpec, Ring, perf_event_open
from pghot.kernel.process import read_stat
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space, Watched
from pghot.live.sources.perf_sampling import READ_FORMAT, SAMPLE, MemorySampling

NEW_PAGES = 2003  # a prime: nothing else comes in that number
PAGE = 4096
RING_BYTES = 1 << 18

# Waits, then touches that many new pages, and says where they were.
PROGRAM = f"""
import ctypes, mmap, sys
memory = mmap.mmap(-1, {NEW_PAGES} * {PAGE})
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
memory.madvise(15)  # MADV_NOHUGEPAGE: a fault for each page
sys.stdin.readline()
for page in range({NEW_PAGES}):
    memory[page * {PAGE}] = 1
print(address, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        yield child
        child.kill()


def open_on(pid: int, config: int, sample_type: int) -> int:
    """An event on one process, or a skip that says what this machine lacks."""
    try:
        return perf_event_open(EventSpec(pe.TYPE_SOFTWARE, config, sample_type), pid, -1)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.ENOSYS, errno.ENOENT):
            pytest.skip(f"perf_event_open of a software event: {error.strerror}")
        raise


def go_on(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def touched(child: subprocess.Popen[str]) -> int:
    """Let the program touch its pages; where they begin."""
    assert child.stdout is not None
    go_on(child)
    return int(child.stdout.readline())


def samples_in(ring: Ring, sample_type: int) -> pr.Samples:
    samples = pr.Samples.sized(1 << 14)
    decode_samples(ring.data, ring.tail, ring.head, pr.words_of(sample_type), samples)
    ring.consume(int(samples.counts[pr.TAIL]))
    return samples


@pytest.mark.parametrize(
    "config", [pe.SW_PAGE_FAULTS, pe.SW_PAGE_FAULTS_MIN], ids=["page-faults", "minor-faults"]
)
def test_2003_new_pages_are_2003_samples_at_their_addresses(
    program: subprocess.Popen[str], config: int
) -> None:
    sample_type = (
        pe.SAMPLE_IP | pe.SAMPLE_TID | pe.SAMPLE_TIME | pe.SAMPLE_ADDR | pe.SAMPLE_CPU | pe.SAMPLE_PERIOD
    )
    ring = Ring(open_on(program.pid, config, sample_type), RING_BYTES // PAGE)
    begin = touched(program)
    samples = samples_in(ring, sample_type)
    ring.close()
    found = int(samples.counts[pr.FOUND])
    address = samples.fields[pr.ADDR, :found]
    ours = (address >= begin) & (address < begin + NEW_PAGES * PAGE)
    assert np.unique(address[ours] // PAGE).tolist() == list(range(begin // PAGE, begin // PAGE + NEW_PAGES))
    assert ours.sum() == NEW_PAGES
    assert set(samples.fields[pr.PID, :found].tolist()) == {program.pid}
    assert samples.fields[pr.CPU, :found].max() < (os.cpu_count() or 1)
    assert set(samples.fields[pr.PERIOD, :found].tolist()) == {1}
    assert (np.diff(samples.fields[pr.TIME, :found].astype(np.int64)) > 0).all()
    assert samples.counts[[pr.LOST, pr.CORRUPT]].tolist() == [0, 0]


def test_physical_addresses_are_those_of_the_page_map(program: subprocess.Popen[str]) -> None:
    sample_type = pe.SAMPLE_ADDR | pe.SAMPLE_PHYS_ADDR
    ring = Ring(open_on(program.pid, pe.SW_PAGE_FAULTS_MIN, sample_type), RING_BYTES // PAGE)
    begin = touched(program)
    samples = samples_in(ring, sample_type)
    ring.close()
    address, frame = pfns(SysRoot(), program.pid, begin, begin + NEW_PAGES * PAGE)
    if not frame.any():
        pytest.skip("pagemap hides page frames: CAP_SYS_ADMIN is missing")
    held = dict(zip(address.tolist(), frame.tolist(), strict=True))
    found = int(samples.counts[pr.FOUND])
    pairs = zip(
        samples.fields[pr.ADDR, :found].tolist(), samples.fields[pr.PHYS_ADDR, :found].tolist(), strict=True
    )
    seen = {a // PAGE * PAGE: p // PAGE for a, p in pairs if a // PAGE * PAGE in held and p}
    assert seen
    assert seen.items() <= held.items()


def test_what_a_small_ring_cannot_hold_is_told_as_lost(program: subprocess.Popen[str]) -> None:
    sample_type = pe.SAMPLE_TID | pe.SAMPLE_ADDR
    ring = Ring(open_on(program.pid, pe.SW_PAGE_FAULTS, sample_type), 1)
    touched(program)
    full = samples_in(ring, sample_type)
    # The kernel tells the loss with the next record that fits.
    go_on(program)
    program.wait()
    after = samples_in(ring, sample_type)
    ring.close()
    found = int(full.counts[pr.FOUND] + after.counts[pr.FOUND])
    lost = int(full.counts[pr.LOST] + after.counts[pr.LOST])
    assert full.counts[pr.FOUND] <= PAGE // 24
    assert lost > 0
    assert found + lost >= NEW_PAGES


def test_decoding_goes_on_over_the_end_of_a_real_ring(program: subprocess.Popen[str]) -> None:
    """Faults of our own, more than the ring holds, read in turns."""
    import mmap

    sample_type = pe.SAMPLE_TID | pe.SAMPLE_ADDR
    ring = Ring(open_on(0, pe.SW_PAGE_FAULTS, sample_type), 4)
    pages, seen = 40 * 97, set()
    with mmap.mmap(-1, pages * PAGE) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        begin = np.frombuffer(memory, np.uint8).ctypes.data
        for first in range(0, pages, 97):
            for page in range(first, first + 97):
                memory[page * PAGE] = 1
            samples = samples_in(ring, sample_type)
            assert samples.counts[[pr.LOST, pr.CORRUPT]].tolist() == [0, 0]
            seen |= set((samples.fields[pr.ADDR, : int(samples.counts[pr.FOUND])] // PAGE).tolist())
    assert ring.head > 5 * len(ring.data)
    ring.close()
    assert {begin // PAGE + page for page in range(pages)} <= seen


def page_faults(sample_type: int, **fields: int) -> EventSpec:
    return EventSpec(pe.TYPE_SOFTWARE, pe.SW_PAGE_FAULTS, sample_type, **fields)


def test_memory_sampling_on_all_cpus_sees_the_tracked_program_only(program: subprocess.Popen[str]) -> None:
    """The path of ibs and pebs, with a software event in place of theirs: its samples have the same fields."""
    sampling = MemorySampling(SysRoot(), lambda data_src: np.ones(len(data_src), np.bool_))
    everywhere = pe.online_cpus(SysRoot())
    identity = read_stat(SysRoot(), program.pid).identity
    nothing = np.empty(0, np.uint64)
    watched = Watched((Space(1, identity, "program", nothing, nothing),))
    try:
        leader = EventSpec(pe.TYPE_SOFTWARE, 9, 0, sample_period=0)  # PERF_COUNT_SW_DUMMY
        spec = page_faults(SAMPLE, read_format=READ_FORMAT)
        sampling.open(spec, watched, everywhere, leader)
    except NotPermittedError as error:
        pytest.skip(str(error))
    sampling.watch(watched)
    begin = touched(program)
    subprocess.run([sys.executable, "-c", ""], check=True)  # somebody else's faults
    found = sampling.poll()
    sampling.watch(watched)
    counters = sampling.counters()
    sampling.close()
    pages = np.concatenate([part.address for part in found]) // PAGE
    ours = pages[(pages >= begin // PAGE) & (pages < begin // PAGE + NEW_PAGES)]
    assert np.sort(ours).tolist() == list(range(begin // PAGE, begin // PAGE + NEW_PAGES))
    assert {pid for part in found for pid in part.pid.tolist()} == {program.pid}
    assert counters["hwhint_useful_events"] == len(pages)
    assert counters["hwhint_total_events"] > len(pages)
    assert counters["hwhint_dropped_events"] == counters["perf_corrupt_records"] == 0


def test_closing_a_ring_closes_its_group_and_an_error_leaves_nothing_open() -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    leader = EventSpec(pe.TYPE_SOFTWARE, 9, 0, sample_period=0)
    try:
        rings = pe.open_on_all_cpus(SysRoot(), page_faults(pe.SAMPLE_ADDR), PAGE, leader=leader)
    except NotPermittedError as error:
        pytest.skip(str(error))
    assert open_files() >= before + 2 * len(rings)
    for ring in rings:
        ring.close()
    del ring, rings
    assert open_files() == before
    with pytest.raises(UnsupportedError):
        pe.open_on_all_cpus(SysRoot(), EventSpec(0xFFFF, 0, 0), PAGE, leader=leader)
    # A ring that is no power of two of pages cannot be mapped.
    with pytest.raises(PghotError):
        pe.open_on_all_cpus(SysRoot(), page_faults(pe.SAMPLE_ADDR), 3 * PAGE)
    assert open_files() == before


@pytest.mark.parametrize("name", ["a", "/a", "/sys/fs/cgroup/a"])
def test_a_cgroup_is_opened_by_its_directory_however_it_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "sys/fs/cgroup/a"
    directory.mkdir(parents=True)
    opened: list[str] = []
    monkeypatch.setattr(
        pe, "_open_ring", lambda spec, fd, *_: opened.append(os.readlink(f"/proc/self/fd/{fd}"))
    )
    pe.open_on_all_cpus(SysRoot(tmp_path), page_faults(pe.SAMPLE_ADDR), PAGE, name, [0, 1])
    assert opened == [str(directory)] * 2


def test_a_cgroup_that_vanished_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no cgroup a: No such file"):
        pe.open_on_all_cpus(SysRoot(tmp_path), page_faults(pe.SAMPLE_ADDR), PAGE, "a", [0])


def test_rings_over_the_limit_of_locked_memory_are_told_from_missing_rights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """perf_mmap's EPERM; perf_event_open was permitted, and leaves nothing open."""

    def refuse(*_: object) -> Ring:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(pe, "perf_event_open", lambda *_, **__: os.open("/dev/null", os.O_RDONLY))
    monkeypatch.setattr(pe, "Ring", refuse)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotPermittedError, match="rings of 1024 KiB a CPU") as caught:
        pe.open_on_all_cpus(SysRoot(), page_faults(pe.SAMPLE_ADDR), 1 << 20, cpus=[0])
    assert "CAP_IPC_LOCK" in caught.value.hint
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("paranoid", "met"), [("-1", True), ("0", True), ("1", False), ("4", False)])
def test_events_of_a_cpu_are_refused_from_paranoid_1_on(paranoid: str, met: bool, tmp_path: Path) -> None:
    put(tmp_path, "proc/sys/kernel/perf_event_paranoid", paranoid)
    assert pe.perf_need(SysRoot(tmp_path)).met is met


def test_a_closed_ring_gets_nothing_more_even_while_its_array_is_in_use(
    program: subprocess.Popen[str],
) -> None:
    ring = Ring(open_on(program.pid, pe.SW_PAGE_FAULTS, pe.SAMPLE_ADDR), RING_BYTES // PAGE)
    data = ring.data
    ring.close()
    head = ring.head
    touched(program)
    assert ring.head == head
    assert len(data) == RING_BYTES
