"""The live loop over a fake kernel, with a source from outside that says what the test wants."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.live_loop import (
    ALWAYS,
    START,
    FakeKernel,
    Scripted,
    addresses,
    maps_line,
    one_program,
    register,
)
from builders.machine_trees import NODES, put
from pghot.cli.live_options import status_on_stderr
from pghot.counters import LOSSES
from pghot.errors import CutShortError, NotPermittedError, PghotError, UnsupportedError, UsageError
from pghot.kernel.knob_files import DEMOTION_ENABLED, NUMA_BALANCING
from pghot.kernel.lru_gen import ENABLED, LRU_GEN
from pghot.kernel.needs import Need, require
from pghot.kernel.process import CAPABILITIES, refused
from pghot.kernel.sysroot import SysRoot
from pghot.live import journal as journal_module
from pghot.live.degraded import Degraded
from pghot.live.journal import Journal
from pghot.live.journal_file import read_journal
from pghot.live.live_settings import LiveSettings, check_sight
from pghot.live.loop import Live
from pghot.live.machine.chosen_nodes import NodeChoice
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.spaces import Spaces
from pghot.live.members import Members
from pghot.live.record_live import lost_of
from pghot.live.run import Summary, end, restore
from pghot.live.slices import Estimate, SliceRecorder
from pghot.live.sources import LIVE_SOURCES
from pghot.live.sources.access_source import Sightings, sightings_of
from pghot.live.status import counters, line, status
from pghot.live.targets import Targets
from pghot.live.undo import undo_open
from pghot.recording.reader import open_recording
from pghot.recording.trace import Process, TraceInfo
from pghot.recording.writer import RecordingWriter
from pghot.report.live_text import render_run, render_status, render_undo, source_line

PID = 500
PAGES = 1024
HOT = addresses(100, 23)


@dataclass
class Bench:
    """A fake kernel, the class of the source, and a clock that the test moves."""

    kernel: FakeKernel
    source: type[Scripted]
    now_ns: int = 10**12
    lives: list[Live] = field(default_factory=list)

    def live(self, journal: Journal | None, **given: Any) -> Live:
        given = {"apply": True, "mover": MoverSettings(rate_limit_mb_s=given.pop("rate", 1000.0)), **given}
        targets = given.pop("targets", Targets((PID,)))
        options = given.pop("policy_options", {"freq_threshold": 2})
        settings = LiveSettings(targets, ("scripted",), policy_options=options, **given)
        made = Live(self.kernel.root, settings, journal, lambda: self.now_ns)
        self.lives.append(made)
        return made

    def tick(self, live: Live, ms: int = 100, times: int = 1) -> None:
        for _ in range(times):
            self.now_ns += ms * 1_000_000
            live.tick()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(one_program(tmp_path, monkeypatch, PID, PAGES), register(monkeypatch))


@pytest.fixture
def journal(bench: Bench, tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "j", bench.kernel.root)
    bench.kernel.journal = made.path
    return made


def hot(times: int = 1) -> list[Sightings]:
    return [sightings_of(PID, HOT) for _ in range(times)]


# ---- sources from outside


def test_a_source_of_another_package_is_named_and_made(bench: Bench) -> None:
    assert LIVE_SOURCES.names()[-1] == "scripted"
    assert LIVE_SOURCES.options("scripted") == {"knob": "", "speed": 1}
    made = LIVE_SOURCES.make("scripted", bench.kernel.root, speed=3)
    assert made.needs()[0].met
    with pytest.raises(UsageError, match="unknown live source 'scriptet'") as caught:
        LIVE_SOURCES.get("scriptet")
    assert "did you mean 'scripted'?" in caught.value.hint


def test_what_is_not_supported_comes_before_what_is_not_permitted() -> None:
    lacking, forbidden = Need("a", "unsupported", "no a", "get a"), Need("b", "not permitted", "no b", "be b")
    require("x", [Need("c")])
    with pytest.raises(NotPermittedError, match="x: no b"):
        require("x", [Need("c"), forbidden])
    with pytest.raises(UnsupportedError, match="x: no a") as caught:
        require("x", [forbidden, lacking])
    assert (caught.value.exit_code, caught.value.hint) == (3, "get a")


# ---- rounds


def test_what_a_policy_heard_of_a_source_is_counted_at_the_source_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = bench.live(None, apply=False)
    assert counters(live)["pghot_reported_accesses"] == 0
    monkeypatch.setattr(bench.source, "counters", lambda self: {"pghot_reported_accesses": 5})
    facts = status(live)
    assert "pghot_reported_accesses" not in facts["counters"]
    assert facts["sources"][0]["counters"]["pghot_reported_accesses"] == 5


def test_what_only_the_lab_can_honour_is_refused(bench: Bench) -> None:
    with pytest.raises(UsageError, match="no policy 'numab2' runs live"):
        bench.live(None, apply=False, policy="numab2", policy_options={})
    with pytest.raises(UsageError, match="long-hash-lists"):
        bench.live(None, policy="pghot-hashed", policy_options={"faithful": ("long-hash-lists",)})


def test_hot_pages_are_promoted_and_come_back_by_undo(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    assert bench.source.watched[0].pids == (PID,)
    bench.source.says += [hot(), hot(2), hot(2)]
    bench.tick(live, times=20)
    assert {address for (_, address), node in bench.kernel.node.items() if node == 0} == set(HOT.tolist())
    assert counters(live)["pgpromote_success"] == 23
    assert live.sighted == {"scripted": 5 * 23}
    live.stop()
    assert bench.source.order == ["start", "stop"]
    done = undo_open(journal, bench.kernel.root)
    assert done.pages_back == 23
    assert set(bench.kernel.node.values()) == {1}
    assert f"{23}" in render_undo(done.facts())


@pytest.mark.parametrize("busy", [False, True])
def test_a_run_that_restores_says_what_it_put_back(bench: Bench, journal: Journal, busy: bool) -> None:
    """Only what could not be put back is left for `pghot undo`."""
    live = bench.live(journal)
    live.start()
    bench.source.says += [hot(2), hot(2)]
    bench.tick(live, times=20)
    summary = Summary(status(live, "pghot.run/1"), end(live, journal), interrupted=False)
    if busy:
        bench.kernel.busy = {(PID, int(HOT[0])): ALWAYS}
    restore(summary, journal, bench.kernel.root)
    journal.close()
    text = render_run(json.loads(json.dumps(summary.facts)))
    assert f"pages back: {23 - busy}, " in text
    assert ("could not be moved back: 1 page of 500 (program)" in text) is busy
    assert ("put back with: pghot undo" in text) is busy
    assert (journal.path.exists(), summary.restored) == (busy, not busy)


def test_a_dry_run_says_what_it_would_do(bench: Bench) -> None:
    live = bench.live(None, apply=False)
    live.start()
    bench.source.says += [hot(2), hot(2)]
    bench.tick(live, times=20)
    assert bench.kernel.moves == []
    assert counters(live)["pgpromote_success"] == 23
    assert "would promote 92.0 KiB" in line(live)


def test_the_facts_are_json_and_render(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    bench.source.says += [hot(2), hot(2)]
    bench.tick(live, times=20)
    bench.kernel.shared = {(PID, START)}
    facts = json.loads(json.dumps(status(live)))
    assert facts["programs"] == [{"pid": PID, "name": "program"}]
    assert facts["mode"] == "apply"
    assert [node["tracked_bytes"] for node in facts["nodes"]] == [23 * 4096, (PAGES - 23) * 4096]
    assert facts["tracking"]["tracked_pages"] == PAGES
    assert facts["journal"] == str(journal.path)
    assert facts["sources"][0]["sampling"] == "what the test says"
    assert "scripted" in render_status(facts, None)
    assert "scripted" in render_status(facts, facts)
    assert "23" in render_run(json.loads(json.dumps(status(live, "pghot.run/1"))))
    assert "promoted 92.0 KiB" in line(live)
    live.stop()
    assert undo_open(journal, bench.kernel.root).complete


def test_what_the_kernel_moves_meanwhile_is_counted_apart(bench: Bench, journal: Journal) -> None:
    """It migrated 12 pages, of which 5 came to a higher tier."""
    root = bench.kernel.root.path("/")
    put(root, "proc/vmstat", "numa_pages_migrated 100\npgpromote_success 40\n")
    live = bench.live(journal)
    live.start()
    put(root, "proc/vmstat", "numa_pages_migrated 112\npgpromote_success 45\n")
    moves = status(live)["moves"]
    assert (moves["promoted_by_the_kernel_pages"], moves["balanced_by_the_kernel_pages"]) == (5, 7)
    text = render_run(status(live))
    assert "promoted by the kernel itself: 5 pages" in text
    assert "moved by the kernel's balancing, not in the journal: 7 pages" in text


def test_a_run_says_whether_it_helped(bench: Bench, journal: Journal) -> None:
    """Ten times a second 23 pages below the top tier, until they are promoted; a touch of the other pages does not."""
    live = bench.live(journal)
    live.start()
    bench.source.says += [hot() for _ in range(100)]
    bench.tick(live, times=50)
    assert "top tier" not in render_run(status(live))
    bench.tick(live, times=50)
    text = render_run(json.loads(json.dumps(status(live))))
    first = status(live)["effect"]["first"]["fast_share"]
    assert 0.9 < first < 1, "they came up soon"
    assert (
        f"accesses on the top tier: {100 * first:.0f} % of those seen in the first 5 s, 100 % in the last"
        in text
    )
    assert "accesses on the top tier" in render_status(status(live), None)


def test_of_hint_faults_a_run_says_how_many_are_left(bench: Bench, journal: Journal) -> None:
    bench.source.sees = "lower"
    live = bench.live(journal)
    live.start()
    bench.source.says += [hot() for _ in range(50)]
    bench.tick(live, times=100)
    first = status(live)["effect"]["first"]["below_per_s"]
    assert 0 < first < 0.1 * 230
    text = render_run(status(live))
    assert f"accesses seen below the top tier: {first:.0f}/s in the first 5 s, 0/s in the last" in text
    assert "waited for memory" not in text, "this kernel does not tell"


def test_status_shows_the_rate_and_the_losses_of_each_source(bench: Bench) -> None:
    live = bench.live(None, apply=False)
    live.start()
    bench.source.says += [hot()]
    bench.tick(live, times=20)
    before = json.loads(json.dumps(status(live)))
    bench.source.says += [hot(), hot()]
    bench.tick(live, times=20)
    now = json.loads(json.dumps(status(live)))
    now["sources"][0]["counters"] |= {"damon_lost_regions": 5}
    seconds = now["seconds"] - before["seconds"]
    assert f"scripted: 69 sightings, {2 * 23 / seconds:.0f}/s, 5 lost;" in render_status(now, before)
    assert f"scripted: 23 sightings, {23 / before['seconds']:.0f}/s, 0 lost;" in render_status(before, None)
    # After a reload everything begins anew: no rate is negative.
    assert render_status(before, now) == render_status(before, None)


@pytest.mark.parametrize("counter", LOSSES)
def test_no_loss_of_a_source_goes_unsaid(counter: str) -> None:
    """Hardware that loses what it wrote itself (spe, chmu) counts the times only: 0 would be untrue."""
    counters = {"pghot_sightings": 5, counter: 3}
    source = {"name": "x", "sampling": "y", "counters": counters}
    assert source_line(source) == "x: 5 sightings, 3 lost; y"
    assert lost_of([counters, counters]) == 6


def test_every_counter_of_a_loss_is_one_of_a_source() -> None:
    made = [LIVE_SOURCES.make(name, SysRoot()) for name in LIVE_SOURCES.names()]
    assert set(LOSSES) <= {name for source in made for name in source.counters()}


def test_what_is_bound_is_said(bench: Bench) -> None:
    put(bench.kernel.tree, f"proc/{PID}/numa_maps", f"{START:x} bind:1 anon=8")
    live = bench.live(None, apply=False)
    live.start()
    facts = json.loads(json.dumps(status(live)))
    assert "left alone: 4.0 MiB under a strict policy of its owner" in render_status(facts, None)


def test_foreign_and_file_sightings_are_counted_and_dropped(bench: Bench) -> None:
    bench.kernel.program(
        PID, [maps_line(START, PAGES), maps_line(START + (PAGES << 12), 8, "r-xp", 7, "/bin/x")]
    )
    live = bench.live(None, apply=False)
    live.start()
    nothing = np.empty(0, np.uint64)
    bench.source.says.append(
        [sightings_of(PID + 9, HOT), sightings_of(PID, addresses(PAGES, 3)), sightings_of(PID, nothing)]
    )
    bench.tick(live)
    found = counters(live)
    assert found["pghot_skipped_foreign"] == 23
    assert found["pghot_skipped_file"] == 3
    assert live.sighted["scripted"] == 26


def test_children_are_followed_and_an_exit_ends_it(bench: Bench) -> None:
    live = bench.live(None, apply=False)
    live.start()
    put(bench.kernel.tree, f"proc/{PID}/task/{PID}/children", str(PID + 1))
    bench.kernel.program(PID + 1, [maps_line(START, 8)], comm="child")
    bench.tick(live, ms=500)
    assert len(live.spaces.spaces) == 1  # the next look is a second after the last
    bench.tick(live, ms=600)
    assert bench.source.watched[-1].pids == (PID, PID + 1)
    bench.kernel.exit(PID)
    bench.kernel.exit(PID + 1)
    (bench.kernel.tree / f"proc/{PID}/task/{PID}/children").unlink()
    bench.tick(live, ms=1100)
    assert not live.alive
    assert bench.source.watched[-1].pids == ()


@pytest.mark.parametrize(
    ("policy", "options", "once"), [("pghot-default", {"freq_threshold": 2}, 1), ("hemem", {}, 4)]
)
@pytest.mark.parametrize("unmapped", [True, False])
def test_pages_that_were_unmapped_are_not_promoted_when_others_take_their_place(
    bench: Bench, policy: str, options: dict[str, Any], once: int, unmapped: bool
) -> None:
    live = bench.live(None, apply=False, policy=policy, policy_options=options)
    live.start()
    seen = [sightings_of(PID, HOT[:1])] * once  # one page: hemem adds up what it sees of 2 MiB
    bench.source.says += [seen]
    bench.tick(live)
    if unmapped:
        bench.kernel.program(PID, [maps_line(START, 8)])
    bench.tick(live, ms=1100)
    bench.kernel.program(PID, [maps_line(START, PAGES)])
    bench.tick(live, ms=1100)
    bench.source.says += [seen]
    bench.tick(live, times=20)
    # What was seen twice is hot, but not when it was once what was there before.
    assert (counters(live)["pgpromote_success"] == 0) == unmapped


def test_a_full_disk_ends_the_run_before_anything_moves(
    bench: Bench, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    live = bench.live(journal)
    monkeypatch.setattr(journal_module.os, "write", full)
    with pytest.raises(PghotError, match="No space left"):
        live.start()
    assert bench.kernel.moves == []


# ---- starting, stopping, effort


def test_knobs_are_put_back_at_the_end_also_after_a_failed_start(bench: Bench, journal: Journal) -> None:
    put(bench.kernel.tree, NUMA_BALANCING, "0")
    bench.source.fails = "no luck"
    live = bench.live(journal, source_options={"scripted": {"knob": NUMA_BALANCING}})
    with pytest.raises(UnsupportedError, match="no luck"):
        live.start()
    assert bench.kernel.root.read(NUMA_BALANCING) == "2"
    assert live.stop() == []
    assert bench.source.order == ["start", "stop"]
    assert bench.kernel.root.read(NUMA_BALANCING) == "0"
    assert read_journal(journal.path).knobs == [(NUMA_BALANCING, "0", "2")]


def test_a_source_that_cannot_end_does_not_keep_the_knobs(
    bench: Bench, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("of another package")

    put(bench.kernel.tree, NUMA_BALANCING, "0")
    live = bench.live(journal, apply=False, source_options={"scripted": {"knob": NUMA_BALANCING}})
    live.start()
    monkeypatch.setattr(bench.source, "stop", broken)
    assert live.stop() == ["the source scripted did not end well: RuntimeError: of another package"]
    assert bench.kernel.root.read(NUMA_BALANCING) == "0"


def test_who_interrupts_the_putting_back_is_told_how_to_go_on(
    bench: Bench, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    put(bench.kernel.tree, NUMA_BALANCING, "0")
    live = bench.live(journal, apply=False, source_options={"scripted": {"knob": NUMA_BALANCING}})
    live.start()
    monkeypatch.setattr(bench.source, "stop", interrupted)
    with pytest.raises(CutShortError) as told:
        end(live, journal)
    assert (told.value.exit_code, told.value.hint) == (130, f"pghot undo {journal.path}")
    assert read_journal(journal.path).knobs == [(NUMA_BALANCING, "0", "2")]


@pytest.mark.parametrize("theirs", [False, True])
def test_the_journal_of_a_dry_run_stays_only_when_something_is_left_to_undo(
    bench: Bench, journal: Journal, theirs: bool
) -> None:
    put(bench.kernel.tree, NUMA_BALANCING, "0")
    live = bench.live(journal, apply=False, source_options={"scripted": {"knob": NUMA_BALANCING}})
    live.start()
    if theirs:
        put(bench.kernel.tree, NUMA_BALANCING, "1")
    assert len(end(live, journal)) == theirs
    journal.close()
    assert journal.path.exists() is theirs


def test_a_reused_pid_costs_a_recording_no_cpu_time(bench: Bench, tmp_path: Path) -> None:
    """Its clock begins anew: the difference must not be below zero, which no slice can hold."""

    def used(ticks: int) -> int:
        zeros, more = " ".join(["0"] * 10), " ".join(["0"] * 34)
        stat = f"{PID} (program) S {zeros} {ticks} {ticks} {more}"
        put(bench.kernel.tree, f"proc/{PID}/stat", stat)
        return recorder._used_cpu_ns() * os.sysconf("SC_CLK_TCK") // 10**9

    live = bench.live(None, apply=False)
    live.start()
    info = TraceInfo(name="live", source="live", slice_ns=10**7)
    writer = RecordingWriter(tmp_path / "r.pghot", info)
    recorder = SliceRecorder(
        bench.kernel.root, writer, live.spaces, slice_ns=info.slice_ns, estimate=Estimate()
    )
    assert [used(ticks) for ticks in (100, 130, 10, 20)] == [0, 60, 0, 20]
    recorder.finish(lost=0)


def test_a_live_recording_names_its_processes(bench: Bench, tmp_path: Path) -> None:
    live = bench.live(None, apply=False)
    live.start()
    info = TraceInfo(name="live", source="live", slice_ns=10**7)
    writer = RecordingWriter(tmp_path / "r.pghot", info)
    recorder = SliceRecorder(
        bench.kernel.root, writer, live.spaces, slice_ns=info.slice_ns, estimate=Estimate()
    )
    (space,) = live.spaces.spaces
    known = next(
        page for page in range(1 << 20) if live.spaces.table.where(np.array([page]))[0][0] == space.number
    )
    recorder.tick(0)
    recorder.saw(np.array([known, known + 1], np.uint32), np.array([3, 4], np.uint32), np.zeros(2, np.bool_))
    recorder.finish(lost=0)
    recording = open_recording(tmp_path / "r.pghot")
    assert recording.info.processes == (Process(PID, "program"),)
    (batch,) = recording.batches(by_thread=True)
    assert (batch.rows, batch.process.tolist()) == (2, [0, 0])


def test_the_budget_lowers_the_effort_of_the_sources(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    live = bench.live(None, apply=False, max_cpu_percent=10.0)
    live.start()
    use = iter([40.0, 10.0, 4.0])
    monkeypatch.setattr(live.budget._cost, "percent_since_last", lambda: next(use))
    bench.tick(live, ms=5000, times=3)
    assert bench.source.efforts == [0.25, 0.3125]
    assert status(live)["sources"][0]["effort"] == 0.3125


def test_what_is_wrong_with_a_source_is_told_until_it_is_well(bench: Bench) -> None:
    """Looked up once a second: 10 rounds of 100 ms."""
    live = bench.live(None, apply=False)
    live.start()
    assert not live.degraded
    bench.source.wrong.append("nobody scans; look at it")
    bench.tick(live, times=9)
    assert status(live)["degraded"] == []
    bench.tick(live)
    (told,) = facts = status(live)["degraded"]
    assert facts == [{"part": "scripted", "problem": "nobody scans; look at it"}]
    assert live.degraded == (Degraded(told["part"], told["problem"]),)
    said = "degraded: scripted: nobody scans; look at it"
    assert said in render_status(status(live), None).splitlines()
    assert line(live).endswith(" · degraded")
    live.stop()
    assert said in render_run(status(live)).splitlines()
    bench.source.wrong.clear()
    again = bench.live(None, apply=False)
    again.start()
    bench.tick(again, times=10)
    assert "degraded" not in render_status(status(again), None) + line(again)


@pytest.mark.parametrize("before", ["0", "2"], ids=["changed by pghot", "right before"])
def test_a_knob_that_a_stranger_changed_is_named_and_not_fought_over(
    bench: Bench, journal: Journal, before: str
) -> None:
    put(bench.kernel.tree, NUMA_BALANCING, before)
    live = bench.live(journal, apply=False, source_options={"scripted": {"knob": NUMA_BALANCING}})
    live.start()
    bench.tick(live, times=10)
    assert live.degraded == ()
    put(bench.kernel.tree, NUMA_BALANCING, "1")
    bench.tick(live, times=10)
    (told,) = live.degraded
    assert told.part == "knobs"
    assert told.problem.startswith(f"{NUMA_BALANCING} is '1', but pghot had set it to '2'; ")
    assert bench.kernel.root.read(NUMA_BALANCING) == "1"
    put(bench.kernel.tree, NUMA_BALANCING, "2")
    bench.tick(live, times=10)
    assert live.degraded == ()
    bench.kernel.root.path(NUMA_BALANCING).unlink()
    bench.tick(live, times=10)
    assert live.degraded[0].problem.startswith(f"{NUMA_BALANCING} is gone, but")
    put(bench.kernel.tree, NUMA_BALANCING, "1")
    problems = live.stop()
    assert len(problems) == (before == "0")
    assert bench.kernel.root.read(NUMA_BALANCING) == "1"


def test_knobs_mean_nothing_when_no_program_is_left(bench: Bench, journal: Journal) -> None:
    put(bench.kernel.tree, NUMA_BALANCING, "0")
    live = bench.live(journal, apply=False, source_options={"scripted": {"knob": NUMA_BALANCING}})
    live.start()
    put(bench.kernel.tree, NUMA_BALANCING, "1")
    bench.kernel.exit(PID)
    bench.tick(live, times=10)
    assert (live.alive, live.degraded) == (False, ())


def test_a_cgroup_that_is_gone_or_became_threaded_is_said_until_it_is_well(bench: Bench) -> None:
    tree = bench.kernel.tree
    put(tree, "sys/fs/cgroup/cgroup.procs", "1")
    put(tree, "sys/fs/cgroup/a/cgroup.procs", str(PID))
    put(tree, "sys/fs/cgroup/a/cgroup.type", "domain")
    live = bench.live(None, apply=False, targets=Targets((), ("/a",)))
    live.start()
    bench.tick(live, times=10)
    assert live.degraded == ()
    put(tree, "sys/fs/cgroup/a/cgroup.type", "threaded")
    bench.tick(live, times=10)
    ((part, said),) = [(each.part, each.problem) for each in live.degraded]
    assert (part, said.split(":")[0]) == ("targets", "the cgroup /a is threaded")
    assert not live.alive
    shutil.rmtree(tree / "sys/fs/cgroup/a")
    bench.tick(live, times=10)
    assert [each.problem for each in live.degraded] == ["no cgroup /a; name a directory under /sys/fs/cgroup"]
    put(tree, "sys/fs/cgroup/a/cgroup.procs", str(PID))
    bench.tick(live, times=10)
    assert (live.degraded, live.alive) == ((), True)


def test_a_cgroup_that_is_made_again_is_followed_by_its_path(bench: Bench, journal: Journal) -> None:
    """As systemd does when it restarts a service. What the old one's pages were promoted from stays undoable."""
    tree = bench.kernel.tree
    group, fresh = tree / "sys/fs/cgroup/a", tree / "sys/fs/cgroup/fresh"

    def again(pid: int) -> None:
        """The new directory is made before the old one goes, so that its inode is another."""
        put(tree, "sys/fs/cgroup/fresh/cgroup.procs", str(pid))
        shutil.rmtree(group, ignore_errors=True)
        fresh.rename(group)

    put(tree, "sys/fs/cgroup/cgroup.procs", "1")
    again(PID)
    live = bench.live(journal, targets=Targets((), ("/a",)))
    live.start()
    bench.source.says.append(hot(4))
    bench.tick(live, times=10)
    assert bench.source.order == ["start"], "it is the same one"
    bench.kernel.exit(PID)
    bench.kernel.program(PID + 1, [maps_line(START, PAGES)], start_ticks=200)
    bench.kernel.populate(PID + 1, 0, PAGES, 1)
    again(PID + 1)
    bench.tick(live, times=10)
    assert bench.source.order == ["start", "reopen"]
    assert bench.source.efforts == [1.0]
    bench.source.says.append([sightings_of(PID + 1, HOT)] * 4)
    bench.tick(live, times=10)
    assert status(live)["sources"][0]["counters"]["pghot_sightings"] == 8 * len(HOT), "its counters go on"
    assert bench.kernel.nodes_of(PID + 1, HOT) == [0] * len(HOT)
    bench.source.vanishes = True
    again(PID + 1)
    bench.tick(live, times=20)
    assert bench.source.order[2:] == ["reopen", "reopen"], "it is tried again"
    bench.source.vanishes = False
    bench.tick(live, times=20)
    assert bench.source.order[4:] == ["reopen"]
    assert live.stop() == []
    undo_open(journal, bench.kernel.root)
    assert bench.kernel.nodes_of(PID + 1, HOT) == [1] * len(HOT)


def test_the_status_line_says_once_what_begins_to_be_wrong_and_what_is_well_again(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    live, show = bench.live(None, apply=False), status_on_stderr()
    live.start()
    for wrong in (["a; b"], ["a; b", "c; d"], ["c; d"]):
        bench.source.wrong[:] = wrong
        for _ in range(10):
            bench.tick(live)
            show(live)
    assert capsys.readouterr().err.splitlines() == [
        "note: degraded: scripted: a; b",
        "note: degraded: scripted: c; d",
        "note: no longer degraded: scripted: a; b",
    ]


def test_a_dry_run_with_hint_faults_is_refused_where_the_kernel_would_promote(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path, mib=4096, free_pages=(1 << 19, 1 << 19))
    kernel.program(PID, [maps_line(START, 8)])
    settings = LiveSettings(Targets((PID,)))
    with pytest.raises(UnsupportedError, match=r"2\.0 GiB free on node 0"):
        Live(kernel.root, settings, None).start()


@pytest.mark.parametrize("demotion", ["reclaim", "lru_gen"])
def test_memory_that_is_charged_to_the_group_above_is_not_left_to_the_kernel(
    bench: Bench, demotion: str
) -> None:
    """It would demote pages of that group's other programs."""
    for group, procs in (("", ""), ("a", ""), ("a/b", str(PID))):
        put(bench.kernel.tree, f"sys/fs/cgroup/{group}/cgroup.procs", procs)
    put(bench.kernel.tree, "sys/fs/cgroup/a/memory.current", "1")
    settings = LiveSettings(Targets((), ("a/b",)), apply=True, mover=MoverSettings(demotion=demotion))
    with pytest.raises(UsageError, match="the memory of the cgroup a/b is not counted on its own"):
        Live(bench.kernel.root, settings, None)


@pytest.mark.parametrize(
    ("sources", "policy", "demotion", "refused"),
    [
        (("faults",), "pghot-default", "auto", ""),
        (("faults",), "pghot-default", "move_pages", "demotion 'move_pages' picks what goes down"),
        (("faults", "softdirty"), "pghot-default", "move_pages", ""),
        (
            ("faults",),
            "hemem",
            "auto",
            "hemem picks what goes down by what was seen, but faults sees no page",
        ),
        (
            ("faults", "chmu"),
            "hemem",
            "off",
            "hemem picks what goes down by what was seen, but faults and chmu",
        ),
        (("faults", "damon"), "hemem", "auto", ""),
        (("lrugen",), "pghot-default", "move_pages", "but lrugen sees no page of the top tier"),
    ],
)
def test_nobody_picks_by_accesses_that_no_source_sees(
    sources: tuple[str, ...], policy: str, demotion: str, refused: str
) -> None:
    settings = LiveSettings(
        Targets((PID,)), sources, policy=policy, mover=MoverSettings.model_validate({"demotion": demotion})
    )
    if not refused:
        check_sight(settings)
        return
    with pytest.raises(UsageError, match=refused):
        check_sight(settings)


def test_a_full_node_that_no_source_sees_is_left_to_the_kernel(
    bench: Bench, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the program shares its cgroup: nothing goes down, and that is said. Then it is alone there."""
    kernel = bench.kernel
    bench.source.sees = "lower"
    bench.source.says[:] = [hot() for _ in range(100)]
    kernel.free[0] = 0
    kernel._show_free()
    put(kernel.tree, f"proc/{PID}/cgroup", "0::/jobs")
    put(kernel.tree, "sys/fs/cgroup/cgroup.procs", "")
    put(kernel.tree, "sys/fs/cgroup/jobs/cgroup.procs", f"{PID}\n{PID + 1}")
    put(kernel.tree, "sys/fs/cgroup/jobs/memory.current", "1")
    put(kernel.tree, ENABLED.lstrip("/"), "0x0007")
    put(kernel.tree, LRU_GEN.lstrip("/"), "")
    put(kernel.tree, DEMOTION_ENABLED.lstrip("/"), "false")
    live = bench.live(journal)
    live.start()
    bench.tick(live, 500, 10)
    assert [each.part for each in live.degraded] == ["demotion"]
    problem = live.degraded[0].problem
    assert "as scripted sees none of its pages, but their cgroup /jobs has 1 more programs; give" in problem
    assert problem.endswith("systemd-run --scope, or add a source that sees the top tier")
    withheld = counters(live)["pghot_demotion_withheld"]
    assert withheld > 0
    assert kernel.root.read(DEMOTION_ENABLED) == "false"
    put(kernel.tree, "sys/fs/cgroup/jobs/cgroup.procs", str(PID))
    bench.tick(live, 500, 6)
    assert kernel.root.read(DEMOTION_ENABLED) == "true"
    assert live.degraded == ()
    more = counters(live)["pghot_demotion_withheld"]
    bench.tick(live, 500, 4)
    assert counters(live)["pghot_demotion_withheld"] == more
    monkeypatch.setattr(
        Spaces, "bound_bytes", lambda self: 4096
    )  # the kernel would demote what is bound to nodes, too
    bench.tick(live, 500, 6)
    assert (
        "4.0 KiB of the programs' memory is bound to nodes, which the kernel does not"
        in live.degraded[0].problem
    )
    live.stop()
    assert kernel.root.read(DEMOTION_ENABLED) == "false"
    assert counters(live)["pgdemote_proactive"] == 0


@pytest.mark.parametrize("demotion", ["reclaim", "lru_gen"])
def test_a_policy_that_picks_what_it_demotes_leaves_nothing_to_the_kernel(
    bench: Bench, demotion: str
) -> None:
    settings = LiveSettings(
        Targets((PID,)), ("softdirty",), policy="hemem", mover=MoverSettings(demotion=demotion)
    )
    with pytest.raises(UsageError, match=f"hemem picks itself what it demotes: demotion '{demotion}'"):
        Live(bench.kernel.root, settings, None)


@pytest.mark.parametrize(("node", "fits"), [(253, True), (254, False), (300, False)])
def test_a_node_that_a_byte_cannot_name_is_refused(tmp_path: Path, node: int, fits: bool) -> None:
    kernel = FakeKernel(tmp_path)
    kernel.program(PID, [maps_line(START, 8)])
    put(tmp_path, f"{NODES}/online", f"0-1,{node}")
    put(tmp_path, f"{NODES}/has_memory", f"0-1,{node}")
    put(tmp_path, f"{NODES}/node{node}/cpulist", "")
    settings = LiveSettings(Targets((PID,)))
    if fits:
        assert Live(kernel.root, settings, None).topology.with_memory[-1] == node
    else:
        with pytest.raises(UnsupportedError, match=f"memory node {node} is more than pghot can count"):
            Live(kernel.root, settings, None)


def test_targets_that_cannot_be(bench: Bench) -> None:
    bench.kernel.program(2, [], comm="kthreadd", flags=0x00200000)
    bench.kernel.program(9, [], comm="dead", state="Z")
    for pid, what in ((1, "no process 1"), (2, "kernel thread"), (9, "zombie")):
        with pytest.raises(UsageError, match=what):
            bench.live(None, targets=Targets((pid,)))
    with pytest.raises(UsageError, match="nothing to track"):
        bench.live(None, targets=Targets())
    with pytest.raises(UnsupportedError, match="cgroup v2"):
        bench.live(None, targets=Targets((), ("a",)))


def test_members_of_cgroups_and_children_together(bench: Bench) -> None:
    root = bench.kernel.root
    put(bench.kernel.tree, "sys/fs/cgroup/cgroup.procs", "1")
    put(bench.kernel.tree, "sys/fs/cgroup/a/cgroup.procs", f"{PID}\n{PID + 2}")
    put(bench.kernel.tree, f"proc/{PID}/task/{PID}/children", str(PID + 1))
    assert Members(root, Targets((PID,), ("a",))).now() == [PID, PID + 1, PID + 2]
    assert Members(root, Targets((PID,), children=False)).now() == [PID]
    assert Members(root, Targets((), ("a", "gone"))).now() == [PID, PID + 2]
    assert Targets((), ("a",)).only_cgroup == "a"
    assert Targets((PID,), ("a",)).only_cgroup == ""
    Targets((), ("a",)).check(root)


def test_rights_are_checked_on_a_live_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(code: int) -> Callable[[int, object], None]:
        def fail(pid: int, address: object) -> None:
            raise OSError(code, "refused")

        return fail

    import os

    monkeypatch.setattr("pghot.live.targets.query_nodes", failing(errno.EPERM))
    with pytest.raises(NotPermittedError, match=f"process {os.getpid()}") as caught:
        Members(SysRoot(), Targets((os.getpid(),))).check()
    assert caught.value.exit_code == 4
    monkeypatch.setattr("pghot.live.targets.query_nodes", failing(errno.ESRCH))
    Members(SysRoot(), Targets((os.getpid(),))).check()


# ---- the nodes' facts


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="no root, or no setpriv")
@pytest.mark.parametrize("names", [("CAP_SYS_PTRACE",), ("CAP_SYS_NICE", "CAP_SYS_PTRACE")])
def test_the_command_that_adds_capabilities_does(names: tuple[str, ...]) -> None:
    error = refused(7, "look at the pages of", *names)
    assert " and ".join(names) in error.hint
    command = error.hint.partition(": sudo ")[2].replace("$USER", "nobody")
    words = [*command.removesuffix("pghot ...").split(), "grep", "CapEff", "/proc/self/status"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[1], 16) == sum(1 << CAPABILITIES[name] for name in names)


def test_a_node_without_memory_is_no_row(bench: Bench) -> None:
    put(bench.kernel.tree, f"{NODES}/node1/meminfo", "Node 1 MemTotal: 0 kB\nNode 1 MemFree: 0 kB")
    live = bench.live(None, apply=False)
    live.start()
    assert [row["node"] for row in status(live)["nodes"]] == [0]


def test_the_kernels_lru_is_not_asked_where_it_may_choose_a_node_that_is_left_out(
    bench: Bench, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.source, "sees", "lower")
    assert bench.live(journal).machine.lru is not None
    live = bench.live(journal, nodes=NodeChoice(left_out=(1,)))
    live.start()
    assert live.machine.lru is None
    (state,) = live.degraded
    assert state.part == "demotion"
    assert "but it would not leave out the nodes that are left out" in state.problem
    assert state.problem.endswith("or add a source that sees the top tier")


def test_pages_on_a_node_that_is_left_out_are_counted_and_stay(bench: Bench, journal: Journal) -> None:
    """All hot pages are on node 1. Each of four rounds sees the 23 of them."""
    live = bench.live(journal, nodes=NodeChoice(left_out=(1,)))
    live.start()
    bench.source.says += [hot()] * 4
    bench.tick(live, times=6)
    facts = status(live)
    assert facts["counters"]["pghot_skipped_left_out"] == 4 * len(HOT)
    assert facts["moves"]["promoted_pages"] == 0
    assert [node["node"] for node in facts["nodes"]] == [0]
    assert live.degraded == (), "the source sees the top tier, so that pghot picks what goes down"
    why = {"node": 1, "why": "it was left out by name", "tracked_bytes": PAGES * 4096}
    assert facts["left_out_nodes"] == [why]
    (said,) = facts["nothing_seen"]
    assert (
        said
        == f"all {4 * len(HOT)} sightings were left out: {4 * len(HOT)} of pages on memory nodes that are left out"
    )
    for text in (render_run({**facts, "schema": "pghot.run/1"}), render_status(facts, None)):
        assert "node 1 is left out: it was left out by name; 4.0 MiB tracked there stays" in text
    assert bench.kernel.nodes_of(PID, HOT) == [1] * len(HOT)


def test_a_cgroups_limits_are_told_and_a_cpuset_without_fast_nodes_is_refused(
    bench: Bench, journal: Journal
) -> None:
    tree, group = bench.kernel.tree, "sys/fs/cgroup/a"
    put(tree, "sys/fs/cgroup/cgroup.procs", "1")
    put(tree, f"{group}/cgroup.procs", str(PID))
    put(tree, f"{group}/memory.max", "1048576")
    put(tree, f"{group}/cpuset.mems.effective", "0-1")
    live = bench.live(journal, targets=Targets((), ("a",)))
    live.start()
    (facts,) = status(live)["cgroups"]
    assert (facts["cgroup"], facts["max_bytes"], facts["nodes"]) == ("a", 1 << 20, (0, 1))
    live.stop()
    put(tree, f"{group}/cpuset.mems.effective", "1")
    with pytest.raises(UsageError, match="may not have memory on the top tier"):
        bench.live(journal, targets=Targets((), ("a",)))
    bench.live(None, targets=Targets((), ("a",)), apply=False)
