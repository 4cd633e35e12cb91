"""A program with very many mappings: not all are read at each refresh, and what was sighted in between is asked for.

On a fake /proc, where PROCMAP_QUERY is answered from the text of maps as it is then.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.live_loop import START, FakeKernel, addresses, maps_line
from pghot.arrays import U64
from pghot.kernel.maps import MappingKind, Mappings, read_maps_text
from pghot.kernel.maps_text import parse_maps
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine import spaces as spaces_module
from pghot.live.machine import strays as strays_module
from pghot.live.machine.spaces import Spaces

PID = 500
LARGE = 24  # mappings, twice as many as are read each time here
FAR = START + (1 << 30)


class Bench:
    """`reads` are whole reads of maps, `asked` the addresses of each question."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel, self.reads = kernel, 0
        self.asked: list[list[int]] = []
        self.can_ask = True

    def read(self, root: SysRoot, pid: int) -> bytes:
        self.reads += 1
        return read_maps_text(root, pid)

    def ask(self, root: SysRoot, pid: int, address: U64, most: int) -> bytes | None:
        self.asked.append(address.tolist())
        if not self.can_ask:
            return None
        lines = read_maps_text(root, pid).splitlines(keepends=True)
        found = dict.fromkeys(line for at in self.asked[-1] for line in lines if _holds(line, at))
        return b"".join(found) if len(found) <= most else None

    def show(self, *more: str, first: int = 0) -> None:
        """Mappings of a page, every other page, from the `first` on, and these."""
        lines = [maps_line(START + 2 * i * 4096, 1) for i in range(first, LARGE)]
        self.kernel.program(PID, sorted([*lines, *more]))


def _holds(line: bytes, address: int) -> bool:
    start, end = (int(part, 16) for part in line.split()[0].split(b"-"))
    return start <= address < end


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(FakeKernel(tmp_path))
    made.show()
    monkeypatch.setattr(spaces_module, "READ_EACH_TIME", LARGE // 2)
    monkeypatch.setattr(spaces_module, "read_maps_text", made.read)
    monkeypatch.setattr(strays_module, "mappings_at", made.ask)
    return made


def movable(spaces: Spaces, address: U64) -> list[bool]:
    return spaces.lookup(np.full(len(address), PID, np.int32), address)[1].tolist()


def test_so_many_mappings_are_read_at_every_third_refresh(bench: Bench) -> None:
    spaces = Spaces(bench.kernel.root, 8)
    spaces.refresh([PID])
    read = []
    for _ in range(9):
        before = bench.reads
        spaces.refresh([PID])
        read.append(bench.reads - before)
    assert read == [0, 0, 1] * 3
    assert bench.asked == []


def test_few_are_read_each_time(bench: Bench) -> None:
    bench.show(first=LARGE // 2 + 1)
    spaces = Spaces(bench.kernel.root, 8)
    for _ in range(3):
        spaces.refresh([PID])
        assert movable(spaces, addresses(0, 1, FAR)) == [False]
    assert (bench.reads, bench.asked) == (3, [])


def test_what_was_sighted_is_asked_for_and_known_at_the_next_refresh(bench: Bench) -> None:
    """A new mapping in a section that is in use, and one far from all others, of shared memory."""
    spaces = Spaces(bench.kernel.root, 8)
    spaces.refresh([PID])
    near = addresses(2 * LARGE + 4, 4)
    assert movable(spaces, addresses(0, 1)) == [True]
    bench.show(maps_line(int(near[0]), 4), maps_line(FAR, 4, "rw-s", 9, "/memfd:x", "00:01", 8192))
    assert movable(spaces, np.append(near, addresses(0, 4, FAR))) == [False] * 8
    assert movable(spaces, addresses(1, 1)) == [False], "it is between two mappings, and nothing is there"
    assert spaces.skipped["unmapped"] + spaces.skipped["no_section"] == 9
    assert spaces.refresh([PID]).any
    assert bench.asked == [[START + 4096, *near.tolist(), *addresses(0, 4, FAR).tolist()]]
    assert bench.reads == 1
    assert movable(spaces, np.append(near, addresses(0, 4, FAR))) == [True] * 8
    assert movable(spaces, addresses(0, 1)) == [True]
    (file,) = (spaces.objects.file(number) for number in spaces.objects.numbers())
    assert file is not None
    assert file.name == "/memfd:x"
    assert not spaces.refresh([PID]).any
    assert len(bench.asked) == 1, "what is known is not asked for again"
    bench.show()  # they are gone: the next read of all of them tells
    assert spaces.refresh([PID]).any
    assert bench.reads == 2
    assert movable(spaces, near) == [False] * 4
    assert spaces.objects.numbers() == []


def test_where_the_kernel_cannot_tell_all_mappings_are_read(bench: Bench) -> None:
    bench.can_ask = False
    spaces = Spaces(bench.kernel.root, 8)
    spaces.refresh([PID])
    bench.show(maps_line(FAR, 4))
    assert movable(spaces, addresses(0, 1, FAR)) == [False]
    spaces.refresh([PID])
    assert bench.reads == 2
    assert movable(spaces, addresses(0, 1, FAR)) == [True]


def test_a_mapping_that_grew_takes_the_place_of_what_it_was(bench: Bench) -> None:
    spaces = Spaces(bench.kernel.root, 8)
    spaces.refresh([PID])
    page = spaces.lookup(np.full(1, PID, np.int32), addresses(0, 1))[0]
    spaces.pages.saw(page, np.full(1, 5, np.uint32))
    bench.show(maps_line(START, 7), first=4)  # the first three, and what was between them and the fourth
    assert movable(spaces, addresses(1, 1)) == [False]
    spaces.refresh([PID])
    assert bench.reads == 1
    assert movable(spaces, addresses(0, 7)) == [True] * 7
    assert spaces.pages.heats(page).tolist() == [5]


def test_a_mapping_that_overlaps_a_part_of_what_is_known_has_all_read(bench: Bench) -> None:
    bench.show(maps_line(FAR, 8))
    spaces = Spaces(bench.kernel.root, 8)
    spaces.refresh([PID])
    bench.show(maps_line(FAR, 2), maps_line(FAR + 4 * 4096, 8, "rw-s", 9, "/memfd:x", "00:01"))
    assert movable(spaces, addresses(8, 1, FAR)) == [False]
    spaces.refresh([PID])
    assert bench.reads == 2
    assert movable(spaces, addresses(0, 4, FAR)) == [True, True, False, False]


def test_a_program_that_ends_between_two_reads_is_dropped(bench: Bench) -> None:
    spaces = Spaces(bench.kernel.root, 8)
    spaces.refresh([PID])
    movable(spaces, addresses(0, 1, FAR))
    bench.kernel.exit(PID)
    spaces.refresh([PID])
    assert spaces.spaces == ()
    assert bench.asked == []


def test_the_maps_may_be_gone_before_the_program_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> bytes:
        raise ProcessLookupError

    spaces = Spaces(bench.kernel.root, 8)
    spaces.refresh([PID])
    movable(spaces, addresses(0, 1, FAR))
    monkeypatch.setattr(strays_module, "mappings_at", gone)
    assert not spaces.refresh([PID]).any
    assert movable(spaces, addresses(0, 1)) == [True]


# ---- mappings that are added to others, against pages

RANGES = st.lists(st.integers(1, 3), max_size=12).map(
    lambda steps: np.cumsum([0, *steps])[: len(steps) // 2 * 2]
)


def mappings(edges: np.ndarray, name: str) -> Mappings:
    lines = [maps_line(int(a) << 12, int(b - a), name=name) for a, b in edges.reshape(-1, 2)]
    return parse_maps("\n".join(lines).encode())


def kinds(of: Mappings) -> dict[int, int]:
    return {
        page: int(kind)
        for start, end, kind in zip(of.start >> np.uint64(12), of.end >> np.uint64(12), of.kind, strict=True)
        for page in range(int(start), int(end))
    }


@given(RANGES, RANGES)
def test_added_mappings_are_in_place_of_those_within(one: np.ndarray, other: np.ndarray) -> None:
    known, new = mappings(one, ""), mappings(other, "/file")
    parts = [
        (a, b)
        for a, b in one.reshape(-1, 2)
        for c, d in other.reshape(-1, 2)
        if a < d and c < b and not c <= a <= b <= d
    ]
    both = known.with_added(new)
    assert (both is None) == bool(parts)
    if both is not None:
        assert kinds(both) == kinds(known) | kinds(new)
        assert (both.end[:-1] <= both.start[1:]).all()
        assert set(kinds(new).values()) <= {int(MappingKind.FILE)}
