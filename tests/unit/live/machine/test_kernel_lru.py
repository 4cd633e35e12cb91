"""Room that the kernel's LRU makes: where it may, what it is told, and that what went down is found."""

from __future__ import annotations

import errno
import os
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.live_loop import (
    START,
    FakeKernel,
    addresses,
    install,
    maps_line,
    mover,
    seen,
    set_ages,
)
from builders.machine_trees import put
from pghot.arrays import U64
from pghot.errors import NotPermittedError
from pghot.kernel.knob_files import DEMOTION_ENABLED
from pghot.kernel.lru_gen import ENABLED, LRU_GEN
from pghot.kernel.sysroot import SysRoot
from pghot.live.journal_file import read_journal
from pghot.live.machine.linux import LinuxMachine
from pghot.live.machine.spaces import Spaces

PID = 500
PAGES = 64
OLD = addresses(40, 24)  # what the kernel's LRU has in an old generation
GENERATIONS = """\
memcg     1 /jobs
 node     0
          1       9000        24           0
          2       8000        20           0
          3       7000        20           0
"""


class Lru:
    """The kernel's LRU: told to evict, it demotes old pages of the program, as many as it was told."""

    def __init__(self, kernel: FakeKernel, old: U64) -> None:
        self.kernel, self.told = kernel, []
        self.old = old.tolist()

    def write(self, root: SysRoot, name: str, text: str) -> None:
        self.told.append(text)
        if name == DEMOTION_ENABLED:
            put(self.kernel.tree, name.lstrip("/"), text)
        elif text.startswith("-"):
            most = int(text.split()[-1])
            for address in self.old[:most]:
                self.kernel._check_journal((PID, address))
                self.kernel.node[PID, address] = 1
                self.kernel.free[0] += 1
                self.kernel.free[1] -= 1
            del self.old[:most]
            self.kernel._show_free()


def working(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, old: U64) -> Lru:
    """An LRU to which all that is written goes."""
    lru = Lru(kernel, old)
    monkeypatch.setattr(SysRoot, "write", lambda *given: lru.write(*given))
    return lru


def full(kernel: FakeKernel) -> None:
    """Node 0 has room for nothing more: its floor, and what a CPU hides."""
    kernel.free[0] = 163 + 125
    kernel._show_free()


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """One program with 64 pages on the fast node and as many on the slow one, in a cgroup."""
    return made(tmp_path, monkeypatch)


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    kernel = FakeKernel(tmp_path)
    kernel.program(PID, [maps_line(START, 2 * PAGES)])
    kernel.populate(PID, 0, PAGES, 0)
    kernel.populate(PID, PAGES, PAGES, 1)
    install(kernel, monkeypatch)
    full(kernel)
    put(tmp_path, "sys/fs/cgroup/cgroup.procs", "")
    put(tmp_path, "sys/fs/cgroup/jobs/memory.current", "1")
    put(tmp_path, LRU_GEN.lstrip("/"), GENERATIONS)
    put(tmp_path, ENABLED.lstrip("/"), "0x0007")
    put(tmp_path, DEMOTION_ENABLED.lstrip("/"), "false")
    return kernel


def blind(
    kernel: FakeKernel, cgroups: tuple[str, ...] = ("/jobs",)
) -> AbstractContextManager[tuple[LinuxMachine, Spaces]]:
    return mover(kernel, cgroups=cgroups, unseen_is_cold=False)


def look(machine: LinuxMachine, rounds: int = 3) -> None:
    """Rounds of 100 ms."""
    for _ in range(rounds):
        machine.tick(int(machine.now_ns) + 100_000_000)


def test_what_went_down_is_found_counted_and_known_to_the_journal(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ages say the contrary: the pages that the kernel calls old were seen just now."""
    lru = working(kernel, monkeypatch, OLD)
    with blind(kernel) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        page = seen(machine, spaces, PID, addresses(0, PAGES))
        spaces.pages.set_age(page[:40], 255)
        hot = seen(machine, spaces, PID, addresses(PAGES, 10))
        moves = machine.migrate(hot, 0, "kmigrated")
        assert lru.told[0] == "true"
        assert lru.told[1] == "- 1 0 1 200 10"
        assert len(moves.moved) == 10
        assert kernel.nodes_of(PID, addresses(0, PAGES)) == [0] * 40 + [1] * 10 + [0] * 14
        assert machine.counts.demoted == 0  # not looked at yet
        look(machine)
        assert (machine.counts.demoted, machine.counts.promoted) == (10, 10)
        assert machine.place[page].tolist() == kernel.nodes_of(PID, addresses(0, PAGES))
        assert machine.lru is not None
        assert (machine.lru.withheld, machine.lru.trouble(0)) == (0, "")
        assert [len(keys) for keys in kernel.moves] == [10]  # move_pages took only what is hot up
        asked: list[U64] = []
        monkeypatch.setattr("pghot.live.machine.placement.query_nodes", lambda pid, page: asked.append(page))
        look(machine)
        assert asked == [], "it looks on although no room was wanted since"


def test_that_nothing_old_is_found_is_said_after_ten_seconds_and_until_something_is(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lru = working(kernel, monkeypatch, OLD[:0])
    with blind(kernel) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        assert machine.lru is not None
        for ms, said in ((0, ""), (9_900, ""), (10_000, "it finds nothing old there")):
            machine.tick(ms * 1_000_000 + 10**9)
            machine.lru.make_room(0, 10, ms)
            assert machine.lru.trouble(ms).startswith(said)
            assert bool(machine.lru.trouble(ms)) == bool(said)
        lru.old = OLD.tolist()
        machine.lru.make_room(0, 10, 10_100)
        assert machine.lru.trouble(10_100) == ""
        lru.old = []
        machine.lru.make_room(0, 10, 10_200)
        assert machine.lru.trouble(20_100) == "", "anew from the first time in vain"


REMOVED = """\
memcg     0 /jobs
 node     0
          1      90000        24           0
          2      80000        20           0
"""
YOUNG = """\
memcg     1 /jobs
 node     0
          2       8000        44           0
          3       7000        20           0
"""


@pytest.mark.parametrize("lost_id", ["0", "2"])
def test_a_cgroup_of_the_same_name_that_was_removed_keeps_nobody_from_going_down(
    lost_id: str, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is listed first, with the oldest pages, and the kernel refuses all commands about it. The living one has no
    old generation before it was aged."""
    put(kernel.tree, LRU_GEN.lstrip("/"), REMOVED.replace("memcg     0", f"memcg     {lost_id}") + YOUNG)
    lru = Lru(kernel, OLD)

    def write(root: SysRoot, name: str, text: str) -> None:
        if text.startswith((f"+ {lost_id} ", f"- {lost_id} ")):
            raise OSError(errno.EINVAL, "Invalid argument")
        if text.startswith("+ 1 "):
            put(kernel.tree, LRU_GEN.lstrip("/"), GENERATIONS)
        lru.write(root, name, text)

    monkeypatch.setattr(SysRoot, "write", write)
    with blind(kernel) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        hot = seen(machine, spaces, PID, addresses(PAGES, 10))
        assert len(machine.migrate(hot, 0, "kmigrated").moved) == 10
    assert lru.told[:3] == ["true", "+ 1 0 3 1 1", "- 1 0 1 200 10"]


def test_a_page_that_is_seen_where_the_kernel_put_it_is_found_at_once(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    working(kernel, monkeypatch, OLD)
    with blind(kernel) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        machine.migrate(seen(machine, spaces, PID, addresses(PAGES, 10)), 0, "kmigrated")
        back = seen(machine, spaces, PID, OLD[:4])
        assert machine.counts.demoted == 4
        machine.migrate(back, 0, "kmigrated")
        assert machine.counts.returned == 4
        look(machine)
        # Ten went at first and four more for those that came back, which were counted already.
        assert machine.counts.demoted == 14


def test_a_program_that_came_later_is_known_to_the_journal_before_anything_goes_down(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lru = working(kernel, monkeypatch, OLD)
    with blind(kernel) as (machine, spaces):
        hot = seen(machine, spaces, PID, addresses(PAGES, 10))
        assert len(machine.migrate(hot, 0, "kmigrated").moved) == 0
        assert lru.told == ["true"]
        look(machine)
        assert len(machine.migrate(hot, 0, "kmigrated").moved) == 10
        (entry,) = read_journal(kernel.journal or Path()).spaces
        assert len(entry.origins()[0]) == 2 * PAGES


@pytest.mark.parametrize("why", ["shared", "no lru_gen", "switched off", "not permitted", "left out"])
def test_without_a_cgroup_that_can_be_asked_nothing_goes_down_and_it_is_said(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    lru = Lru(kernel, OLD)

    def write(root: SysRoot, name: str, text: str) -> None:
        if why == "not permitted":
            raise NotPermittedError(f"not permitted to write {name}", "run as root")
        lru.write(root, name, text)

    monkeypatch.setattr(SysRoot, "write", write)
    if why == "no lru_gen":
        (kernel.tree / ENABLED.lstrip("/")).unlink()
    with blind(kernel, ("/jobs",) * (why != "shared")) as (machine, spaces):
        list(machine.survey(spaces.spaces[0]))
        page = seen(machine, spaces, PID, addresses(0, PAGES))
        spaces.pages.set_age(page, 255)
        hot = seen(machine, spaces, PID, addresses(PAGES, 10))
        if why == "switched off":  # by a stranger, after the first time
            machine.lru._demotes = True  # type: ignore[union-attr]
        if why == "left out":
            machine.lru._topology = replace(machine.topology, left_out={2: "it is a GPU's"})  # type: ignore[union-attr]
        assert len(machine.migrate(hot, 0, "kmigrated").moved) == 0
        look(machine)
        assert machine.lru is not None
        assert machine.lru.withheld == 10
        trouble = machine.lru.trouble(10_000)
        assert trouble.startswith(
            {
                "shared": "",
                "switched off": "",
                "no lru_gen": "lru_gen: the kernel has no multi-gen LRU; a kernel with",
                "left out": "it may choose node 2, which is left out: it is a GPU's; name the node slow",
                "not permitted": "not permitted to write /sys/kernel/mm/numa/demotion_enabled; run as root",
            }[why]
        )
        assert machine.lru.trouble(20_001) == ""  # no room was wanted of late
    assert kernel.moves == []
    assert set(kernel.nodes_of(PID, addresses(0, PAGES))) == {0}


@given(
    ages=st.lists(st.integers(0, 255), min_size=PAGES, max_size=PAGES),
    marks=st.lists(st.sampled_from([0, 2, 4, 6]), min_size=PAGES, max_size=PAGES),
    wanted=st.integers(1, PAGES),
    whole=st.booleans(),
)
def test_a_source_that_is_blind_there_never_demotes_by_age(
    tmp_path_factory: pytest.TempPathFactory, ages: list[int], marks: list[int], wanted: int, whole: bool
) -> None:
    """What goes down is what the kernel calls old, and nothing else, whatever ages say; by ages any page might go."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        kernel = made(tmp_path_factory.mktemp("tree"), monkeypatch)
        lru = Lru(kernel, OLD)
        monkeypatch.setattr(SysRoot, "write", lambda *given: lru.write(*given))
        with blind(kernel, ("/jobs",) * whole) as (machine, spaces):
            list(machine.survey(spaces.spaces[0]))
            page = seen(machine, spaces, PID, addresses(0, PAGES))
            set_ages(spaces, page, ages)
            spaces.pages.marks[page] |= np.array(marks, np.uint8)
            hot = seen(machine, spaces, PID, addresses(PAGES, wanted))
            for _ in range(3):
                machine.migrate(hot, 0, "kmigrated")
                look(machine)
            went = [address for address in addresses(0, PAGES).tolist() if kernel.node[PID, address] == 1]
            assert went == OLD.tolist()[: wanted * whole]
            assert machine.counts.demoted == len(went)
