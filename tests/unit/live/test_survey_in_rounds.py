"""Looking where all pages are takes no more of a round than it may, and ends before anything may move pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from builders.live_loop import START, FakeKernel, Scripted, install, maps_line, register
from builders.machine_trees import put
from pghot.arrays import I32, U64
from pghot.kernel.knob_files import DEMOTION_ENABLED
from pghot.kernel.watched import SetKnob, Watched
from pghot.live.journal import Journal
from pghot.live.journal_file import read_journal
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.machine.sections import SECTION_PAGES
from pghot.live.status import line
from pghot.live.targets import Targets

PID = 500
LOOK_MS = 200


@dataclass
class Bench:
    """A clock that only asking about a section's pages moves, by 200 ms. `known` are the pages whose origins the
    journal had when the source started."""

    now_ms: int = 10**6
    known: int = -1


def made(tree: Path, monkeypatch: pytest.MonkeyPatch, sections: int, max_cpu: float) -> tuple[Live, Bench]:
    """A program with two pages, on node 1, in each of its sections."""
    kernel, bench, source = FakeKernel(tree), Bench(), register(monkeypatch)
    kernel.program(PID, [maps_line(START, sections * SECTION_PAGES)])
    for section in range(sections):
        kernel.populate(PID, section * SECTION_PAGES, 2, 1)
    query = kernel.query_nodes

    def slow(pid: int, address: U64) -> I32:
        bench.now_ms += LOOK_MS
        return query(pid, address)

    def start(self: Scripted, watched: Watched, set_knob: SetKnob) -> None:
        bench.known = sum(len(entry.origins()[0]) for entry in read_journal(journal.path).spaces)

    monkeypatch.setattr(kernel, "query_nodes", slow)
    monkeypatch.setattr(source, "start", start)
    install(kernel, monkeypatch)
    journal = Journal(tree / "journal", kernel.root)
    settings = LiveSettings(Targets((PID,)), ("scripted",), apply=True, max_cpu_percent=max_cpu)
    return Live(kernel.root, settings, journal, lambda: bench.now_ms * 1_000_000), bench


def test_what_is_soon_known_is_known_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sections take 400 of the 500 ms."""
    live, bench = made(tmp_path, monkeypatch, sections=2, max_cpu=1.0)
    live.start()
    assert not live.surveying
    assert bench.known == 4


@pytest.mark.parametrize(("max_cpu", "rounds"), [(50.0, 1), (20.0, 3), (1.0, 3)])
def test_the_rest_comes_in_rounds_and_the_sources_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_cpu: float, rounds: int
) -> None:
    """Of five sections the start does three (600 ms of 500). A round a second later has 10 ms for each percent.

    At 50 % the other two take 400 of its 500 ms. At 20 % and at 1 % it does one, and the third round finds no more.
    """
    live, bench = made(tmp_path, monkeypatch, sections=5, max_cpu=max_cpu)
    began_ms = bench.now_ms
    live.start()
    assert bench.now_ms - began_ms == 3 * LOOK_MS
    for _ in range(rounds):
        assert live.surveying
        assert bench.known == -1
        assert "sources start when it is known where all pages are" in line(live)
        bench.now_ms += 1000
        live.tick()
    assert not live.surveying
    assert bench.known == 10
    assert "sources start" not in line(live)
    assert live.stop() == []


def test_what_depends_on_the_end_of_it_waits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may not demote before the origins are known, and the sources start at the effort of that time."""
    live, bench = made(tmp_path, monkeypatch, sections=5, max_cpu=1.0)
    put(tmp_path, DEMOTION_ENABLED, "false")
    monkeypatch.setattr(type(live.settings.mover), "kernel_demotes", True)
    live.start()
    live.budget.judge(4.0)  # four times the limit
    (source,) = live.sources
    assert isinstance(source, Scripted)
    while live.surveying:
        assert live.root.read(DEMOTION_ENABLED) == "false"
        assert source.efforts == []
        bench.now_ms += 1000
        live.tick()
    assert live.root.read(DEMOTION_ENABLED) == "true"
    assert source.efforts == [0.25]
    assert live.stop() == []
    assert live.root.read(DEMOTION_ENABLED) == "false"


def test_a_run_may_end_before_its_sources_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live, bench = made(tmp_path, monkeypatch, sections=5, max_cpu=1.0)
    live.start()
    live.tick()
    assert live.stop() == []
    assert bench.known == -1
