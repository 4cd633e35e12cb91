"""A run that saw nothing says why: each reason of its own, from a loop over a small kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.live_loop import (
    START,
    FakeKernel,
    Scripted,
    addresses,
    maps_line,
    one_program,
    register,
)
from builders.machine_trees import put
from pghot.kernel.needs import Need
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.machine.kinds import Kinds
from pghot.live.record_live import RecordingPlan, record_live
from pghot.live.sources.access_source import sightings_of
from pghot.live.status import line, status
from pghot.live.targets import Targets
from pghot.report.live_text import render_hot, render_run, render_status

PID, PAGES = 500, 64


@dataclass
class Bench:
    """A program of 64 pages on the slow node, and a clock that the test moves."""

    kernel: FakeKernel
    source: type[Scripted]
    clock: list[int] = field(default_factory=lambda: [10**12])

    def live(self, **given: Any) -> Live:
        settings = LiveSettings(**{"targets": Targets((PID,)), "sources": ("scripted",), **given})
        live = Live(self.kernel.root, settings, None, lambda: self.clock[0])
        live.start()
        return live

    def second(self, live: Live) -> list[str]:
        """Why nothing was seen, after a round that is a second later."""
        self.clock[0] += 10**9
        live.tick()
        return status(live)["nothing_seen"]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(one_program(tmp_path, monkeypatch, PID, PAGES), register(monkeypatch))


def test_memory_under_a_policy_gets_no_hint_faults(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a source of hint faults is blind to it."""
    put(bench.kernel.tree, f"proc/{PID}/numa_maps", f"{START:x} prefer:1 anon=64")
    live = bench.live()
    assert not any("policy" in reason for reason in bench.second(live))
    assert status(live)["counters"]["pghot_unscanned_bytes"] == 0
    monkeypatch.setattr(bench.source, "mechanism", "hint fault")
    live = bench.live(apply=True)
    said = "256.0 KiB get no hint faults under a policy of their owner, such as preferred or interleave"
    assert said in bench.second(live)
    facts = status(live)
    assert facts["counters"]["pghot_unscanned_bytes"] == 64 * 4096
    for text in (render_run(facts), render_status(facts, None)):
        assert "no hint faults: 256.0 KiB under a policy of its owner" in text


@pytest.mark.parametrize("sees_hugetlb", [False, True])
def test_hugetlb_pages_that_no_source_sees(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, sees_hugetlb: bool
) -> None:
    """They are named only where they should move and cannot be seen; else their size is what is left alone."""
    monkeypatch.setattr("pghot.live.live_settings.shared_need", lambda root: Need("rights"))
    monkeypatch.setattr(bench.source, "sees_hugetlb", sees_hugetlb, raising=False)
    put(bench.kernel.tree, f"proc/{PID}/mountinfo", "34 1 0:41 / /huge rw - hugetlbfs none rw,pagesize=2M\n")
    bench.kernel.program(PID, [maps_line(START, 1024, "rw-s", 9, "/huge/x", "00:29")])
    live = bench.live(kinds=Kinds.of(["hugetlb"]))
    said = "scripted cannot see hugetlb pages, which 4.0 MiB of mappings have"
    assert (said in bench.second(live)) is not sees_hugetlb
    counted = 0 if sees_hugetlb else 4 << 20
    facts = status(live)
    assert facts["counters"]["pghot_unseen_hugetlb_bytes"] == counted
    assert facts["counters"]["pghot_hugetlb_bytes"] == 0
    assert ("unseen: 4.0 MiB in mappings of hugetlb pages" in render_run(facts)) is not sees_hugetlb
    live = bench.live()
    assert status(live)["counters"]["pghot_unseen_hugetlb_bytes"] == 0
    assert "left alone: 4.0 MiB in mappings of hugetlb pages" in render_run(status(live))


def test_samples_heat_the_first_of_a_hugetlb_page_and_regions_each(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pghot.live.live_settings.shared_need", lambda root: Need("rights"))
    put(bench.kernel.tree, f"proc/{PID}/mountinfo", "34 1 0:41 / /huge rw - hugetlbfs none rw,pagesize=2M\n")
    bench.kernel.program(PID, [maps_line(START, 1024, "rw-s", 9, "/huge/x", "00:29")])
    bench.kernel.map_file(PID, "/huge/x", 0, 1024, START, 1)
    for sees, heats in (("any", [2, 0, 0, 1]), ("regions", [0, 1, 1, 0])):
        monkeypatch.setattr(bench.source, "sees", sees)
        live = bench.live(kinds=Kinds.of(["hugetlb"]))
        bench.source.says.append([sightings_of(PID, addresses(1, 2)), sightings_of(PID, addresses(700, 1))])
        bench.second(live)
        page, _ = live.spaces.lookup(np.full(4, PID, np.int32), addresses(0, 1024)[[0, 1, 2, 512]])
        assert live.spaces.pages.heats(page).tolist() == heats


def test_a_full_pool_is_a_degraded_state_until_it_has_room(bench: Bench) -> None:
    """Nothing in the captured tree has a pool."""
    live = bench.live(apply=True)
    bench.second(live)
    assert live.degraded == ()
    live.machine.pools.refuse(0, 3)
    bench.second(live)
    (found,) = live.degraded
    assert found.part == "hugetlb"
    assert found.problem.startswith("the pool of 2 MiB pages on node 0 is full")
    facts = status(live)
    assert facts["counters"]["pghot_hugetlb_no_room"] == 3 * 512
    assert "no room: 1,536 pages (6.0 MiB) of hugetlb pages" in render_run(facts)
    pool = "hugepages/hugepages-2048kB/free_hugepages"
    put(bench.kernel.tree, f"sys/devices/system/node/node0/{pool}", "1")
    put(bench.kernel.tree, "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "1")
    bench.second(live)
    assert live.degraded == ()


def test_one_access_of_a_tracked_page_is_something(bench: Bench) -> None:
    live = bench.live()
    bench.source.says.append([sightings_of(PID, addresses(3, 1)), sightings_of(999, addresses(3, 5))])
    assert bench.second(live) == []
    text = render_status(status(live), None) + render_run(status(live))
    assert "nothing was seen" not in text


def test_a_source_that_reports_nothing_is_said_on_every_screen(bench: Bench) -> None:
    live = bench.live()
    (why,) = bench.second(live)
    assert why == "scripted reported no access in 1.0 s: the programs may be idle, or the time too short"
    for text in (
        render_status(status(live), None),
        render_run(status(live)),
        render_hot({"schema": "pghot.hot/1", "by": "page", "hot": [], "nothing_seen": [why]}),
    ):
        assert f"nothing was seen, because\n  {why}" in text
    before = {"schema": "pghot.hot/1", "by": "page", "hot": [], "nothing_seen": []}
    assert render_hot(before) == "nothing was seen lately"


def test_what_was_left_out_is_counted_by_its_reason_the_most_frequent_first(bench: Bench) -> None:
    bench.kernel.program(
        PID, [maps_line(START, PAGES), maps_line(START + PAGES * 4096, 8, "r--p", 77, "/usr/bin/program")]
    )
    live = bench.live()
    file, nowhere = addresses(PAGES, 3), addresses(PAGES + 8, 20)
    seen = [sightings_of(PID, file), sightings_of(PID, nowhere), sightings_of(999, addresses(0, 23))]
    bench.source.says.append(seen)
    assert bench.second(live) == [
        "all 23 sightings were left out: 20 of addresses where nothing is mapped any more; "
        "3 of pages of mapped files: --kinds file moves them"
    ]


def test_what_is_seen_of_other_programs_alone_is_no_sighting(bench: Bench) -> None:
    """The events of some sources are open for all processes of the machine."""
    live = bench.live()
    bench.source.says.append([sightings_of(999, addresses(0, 23)), sightings_of(1, addresses(0, 1))])
    assert bench.second(live) == ["all 24 sightings were of processes that are not tracked"]
    assert " · 0 sightings · " in line(live)
    bench.source.says.append([sightings_of(999, addresses(0, 23)), sightings_of(PID, addresses(0, 2))])
    assert bench.second(live) == []
    assert " · 2 sightings · " in line(live)


def test_no_program_and_one_that_ended(bench: Bench) -> None:
    live = bench.live()
    bench.kernel.exit(PID)
    assert bench.second(live) == ["the programs had ended after 1.0 s"]
    for group in ("", "a/"):
        put(bench.kernel.tree, f"sys/fs/cgroup/{group}cgroup.procs", "")
    assert bench.second(bench.live(targets=Targets((), ("/a",)))) == ["there was no program to track"]


def test_everything_on_the_top_tier(bench: Bench) -> None:
    bench.source.sees = "lower"
    assert "on the top tier" not in "".join(bench.second(bench.live()))
    bench.kernel.exit(PID)
    bench.kernel.program(PID, [maps_line(START, PAGES)])
    bench.kernel.populate(PID, 0, PAGES, 0)
    assert bench.second(bench.live()) == [
        "all 64 tracked pages are on the top tier, where scripted sees none"
    ]
    bench.source.sees = "any"
    assert "on the top tier" not in "".join(bench.second(bench.live()))


def test_what_the_source_cannot_see_what_is_degraded_and_the_lowered_effort(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.source.sees, bench.source.wrong = "writes", ["nobody scans; look at it"]
    live = bench.live(max_cpu_percent=10.0)
    monkeypatch.setattr(live.budget, "effort", 0.25)
    assert bench.second(live) == [
        "scripted sees only what is written",
        "scripted: nobody scans; look at it",
        "the sources sampled at 25 % of their rate, to keep to the budget of CPU time",
    ]
    monkeypatch.setattr(bench.source, "mechanism", None)
    bench.source.sees = "any"
    assert bench.second(live)[0] == "scripted sees no addresses"


def test_an_empty_recording_is_not_kept(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "r.pghot"
    settings = LiveSettings(Targets((PID,)), ("scripted",))
    recorded = record_live(bench.kernel.root, settings, RecordingPlan(path), lambda _: bench.kernel.exit(PID))
    assert recorded.nothing_seen
    assert not path.exists()
    bench.kernel.program(PID, [maps_line(START, PAGES)])
    bench.kernel.populate(PID, 0, PAGES, 1)
    bench.source.says.append([sightings_of(PID, addresses(3, 1))])
    recorded = record_live(bench.kernel.root, settings, RecordingPlan(path), lambda _: bench.kernel.exit(PID))
    assert (recorded.nothing_seen, recorded.facts["rows"]) == ([], 1)
    assert path.exists()
