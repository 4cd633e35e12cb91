"""Rounds without a descriptor: what was known stays, `degraded` says so, and all goes on afterwards."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from builders.live_loop import START, FakeKernel, Scripted, addresses, install, maps_line, register
from builders.machine_trees import put
from builders.scarcity import no_descriptors
from pghot.kernel.process import Identity
from pghot.kernel.shortage import HOLD_MS, ShortageError
from pghot.live.journal import Journal
from pghot.live.journal_file import read_journal
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.machine import asking
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.sources.access_source import sightings_of
from pghot.live.targets import Targets
from waiting import until

FIRST, SECOND = 500, 600
HOT = addresses(3, 23)


class Bench:
    """Two programs in a cgroup, each with 64 pages on the slow node, and a loop over them."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch, targets: Targets) -> None:
        self.kernel = FakeKernel(place / "tree")
        put(self.kernel.tree, "sys/fs/cgroup/cgroup.procs", "")
        put(self.kernel.tree, "sys/fs/cgroup/a/cgroup.procs", f"{FIRST}\n{SECOND}")
        for pid in (FIRST, SECOND):
            self.kernel.program(pid, [maps_line(START, 64)], start_ticks=pid)
            put(self.kernel.tree, f"proc/{pid}/status", "Name:\tprogram\nUid:\t0\t0\t0\t0\nVmRSS:\t 400 kB")
            self.kernel.populate(pid, 0, 64, 1)
        install(self.kernel, monkeypatch)
        self.source: type[Scripted] = register(monkeypatch)
        self.now_ns = 10**12
        self.journal = Journal(place / "j", self.kernel.root)
        settings = LiveSettings(
            targets, ("scripted",), apply=True, mover=MoverSettings(rate_limit_mb_s=1000.0),
            policy_options={"freq_threshold": 2},
        )  # fmt: skip
        self.live = Live(self.kernel.root, settings, self.journal, lambda: self.now_ns)

    def tick(self, ms: int = 1000, times: int = 1) -> None:
        for _ in range(times):
            self.now_ns += ms * 1_000_000
            self.live.tick()

    def pids(self) -> list[int]:
        return sorted(space.pid for space in self.live.spaces.spaces)

    def parts(self) -> list[str]:
        return [each.part for each in self.live.degraded]

    def see(self, pid: int, times: int = 4) -> None:
        self.source.says.append([sightings_of(pid, HOT)] * times)

    def on_fast(self, pid: int) -> int:
        return sum(self.kernel.node[pid, address] == 0 for address in HOT.tolist())


NAMED = {
    "pids": Targets((FIRST, SECOND)),
    "cgroup": Targets(cgroups=("/a",)),
    "pattern": Targets(cgroups=("*",)),
    "name": Targets(names=("program",)),
    "size": Targets(min_bytes=1 << 18),
}


@pytest.mark.parametrize("named", NAMED)
def test_programs_do_not_end_by_it(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, monkeypatch, NAMED[named])
    live = bench.live
    live.start()
    bench.see(FIRST)
    bench.tick(times=2)
    assert bench.on_fast(FIRST) == len(HOT)
    told = len(bench.source.watched)
    with no_descriptors():
        bench.tick(times=15)
        assert bench.pids() == [FIRST, SECOND]
        assert bench.parts() == ["shortage"]
        assert "LimitNOFILE" in live.degraded[0].problem
    assert len(bench.source.watched) == told, "nothing came or went"
    bench.see(SECOND)
    bench.tick(times=2)
    assert bench.on_fast(SECOND) == len(HOT), "it goes on"
    bench.tick(times=1 + HOLD_MS // 1000)
    assert bench.parts() == []
    live.stop()


def test_who_came_and_ended_meanwhile_is_noticed_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, monkeypatch, NAMED["cgroup"])
    bench.live.start()
    bench.tick()
    bench.kernel.exit(FIRST)
    bench.kernel.program(700, [maps_line(START, 64)], start_ticks=700)
    put(bench.kernel.tree, "sys/fs/cgroup/a/cgroup.procs", f"{SECOND}\n700")
    with no_descriptors():
        bench.tick(times=3)
        assert bench.pids() == [FIRST, SECOND]
    bench.tick()
    assert bench.pids() == [SECOND, 700]
    assert bench.source.watched[-1].pids == (SECOND, 700)
    bench.live.stop()


def test_a_mapping_that_changed_meanwhile_is_noticed_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its maps can be read, but not what lies behind: it must not count as looked at."""
    bench = Bench(tmp_path, monkeypatch, NAMED["pids"])
    bench.live.start()
    bench.tick()
    bench.kernel.program(FIRST, [maps_line(START, 64, inode=9, name="/f", device="08:01")], start_ticks=FIRST)

    def short(*_: object) -> None:
        raise ShortageError("none left")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("pghot.kernel.file_systems.FileSystems._mounted", short)
        bench.tick()
        assert bench.live.spaces.spaces[0].start.tolist() == [START]
    bench.tick()
    assert bench.live.spaces.spaces[0].start.tolist() == []
    bench.live.stop()


def test_sources_hear_of_a_change_although_one_of_them_could_not_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, monkeypatch, NAMED["cgroup"])
    bench.live.start()
    bench.tick()
    short = [ShortageError("none left")]
    took: list[tuple[int, ...]] = []

    def watch(self: Scripted, watched: object) -> None:
        if short:
            raise short.pop()
        took.append(watched.pids)  # type: ignore[attr-defined]

    monkeypatch.setattr(bench.source, "watch", watch)
    bench.kernel.exit(FIRST)
    bench.tick()
    assert took == []
    bench.tick(times=3)
    assert took == [(SECOND,)], "once more, and then it is known"
    bench.live.stop()


def test_origins_come_first_even_if_the_survey_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A survey that is broken off does not count as done: the sources start after it."""
    bench = Bench(tmp_path, monkeypatch, NAMED["pids"])
    shorts = [ShortageError("none left")] * 3
    honest = bench.live.machine.placement.survey

    def survey(space: object) -> object:
        if shorts:
            raise shorts.pop()
        return honest(space)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.live.machine.placement, "survey", survey)
    bench.live.start()
    bench.see(FIRST)
    bench.tick(times=8)
    assert bench.source.order == ["start"]
    origins = {
        entry.identity.pid: len(entry.origins()[0]) for entry in read_journal(bench.journal.path).spaces
    }
    assert origins == {FIRST: 64, SECOND: 64}
    bench.live.stop()


def test_hot_pages_wait_until_they_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a descriptor nothing shows that the program is the same; the mover keeps the pages for later."""
    bench = Bench(tmp_path, monkeypatch, NAMED["pids"])
    bench.live.start()
    bench.tick()
    machine, spaces = bench.live.machine, bench.live.spaces
    page, movable = spaces.lookup(np.full(len(HOT), FIRST, np.int32), HOT)
    assert movable.all()
    with no_descriptors():
        moves = machine.migrate(page, 0, "pghot")
    assert (len(moves.moved), sorted(moves.failed.tolist())) == (0, sorted(page.tolist()))
    assert bench.kernel.moves == []
    assert len(machine.migrate(page, 0, "pghot").moved) == len(HOT)
    bench.live.stop()


def test_the_thread_that_asks_for_policies_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty answer would read as memory that nobody has bound."""
    monkeypatch.setattr(asking, "AGAIN_S", 0.01)
    kernel = FakeKernel(tmp_path)
    kernel.program(FIRST, [maps_line(START, 64)])
    put(kernel.tree, f"proc/{FIRST}/numa_maps", f"{START:x} bind:0 anon=64")
    asks = asking.Asking(kernel.root)
    with no_descriptors():
        asks.ask_beside(Identity(FIRST, 100, (1, 2, 3)), False)
        until(lambda: kernel.root.shortages.count > 2, "its second try")
        assert asks.told() == []
    told: list[asking.Told] = []
    until(lambda: told.extend(asks.told()) or told, "its answer")
    assert told[0].policies.bound.tolist() == [START]
    asks.stop()


def test_a_program_is_tracked_even_if_there_can_be_no_thread_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory stays where it is, as nobody knows its policies, and it is asked later."""
    bench = Bench(tmp_path, monkeypatch, NAMED["pids"])
    monkeypatch.setattr(asking, "AT_ONCE_S", -1.0)
    refused: list[str] = []

    def refuse(thread: threading.Thread) -> None:
        refused.append(thread.name)
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("threading.Thread.start", refuse)
        bench.live.start()
        bench.tick(times=2)
    assert refused
    assert bench.pids() == [FIRST, SECOND]
    assert bench.parts() == ["shortage"]
    assert "TasksMax" in bench.live.degraded[0].problem

    def known() -> bool:
        bench.tick()
        return all(len(space.start) for space in bench.live.spaces.spaces)

    until(known, "what may be moved of both")
    bench.live.stop()
