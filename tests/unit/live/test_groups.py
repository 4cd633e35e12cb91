"""Programs in groups: the first that fits has a program; each has its policy, its sightings and its rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.live_loop import START, FakeKernel, Scripted, addresses, install, maps_line, register
from builders.machine_trees import put
from pghot.daemon.prometheus import families
from pghot.kernel.process_status import ProgramStatus, read_status
from pghot.kernel.sysroot import SysRoot
from pghot.live import members as members_module
from pghot.live.groups import Group, GroupMembers, all_targets
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.pace import Pace
from pghot.live.machine.rate_goal import Goal
from pghot.live.sources.access_source import sightings_of
from pghot.live.status import status
from pghot.live.targets import LeftOut, Targets
from pghot.report.live_text import render_status

PAGES, MIB, S = 512, 1 << 20, 10**9
HOT = addresses(0, PAGES)


def group(
    name: str, pattern: str, policy: str = "pghot-default", rate: float = 1000.0, **options: Any
) -> Group:
    return Group(name, Targets(names=(pattern,)), policy, rate, options)


class Bench:
    """Programs 501, 502, ... with 2 MiB each on the slow node, all of it hot."""

    def __init__(self, tree: Path, source: type[Scripted], *names: str) -> None:
        self.kernel, self.source, self.now_ns = FakeKernel(tree), source, 10**12
        self.pids = range(501, 501 + len(names))
        for pid, name in zip(self.pids, names, strict=True):
            self.kernel.program(pid, [maps_line(START, PAGES)], comm=name)
            self.kernel.populate(pid, 0, PAGES, 1)
            put(tree, f"proc/{pid}/status", f"Name:\t{name}\nUid:\t0\t0\t0\t0\nVmRSS:\t2048 kB")

    def live(self, *groups: Group, apply: bool = True, rate: float = 1000.0, **moving: Any) -> Live:
        settings = LiveSettings(
            all_targets([each.targets for each in groups]),
            ("scripted",),
            groups=groups,
            apply=apply,
            mover=MoverSettings(rate_limit_mb_s=rate, **moving),
        )
        live = Live(self.kernel.root, settings, None, lambda: self.now_ns)
        live.start()
        return live

    def rounds(self, live: Live, times: int) -> None:
        """A tenth of a second each, in which every page of every program is seen."""
        for _ in range(times):
            self.source.says.append([sightings_of(pid, HOT) for pid in self.pids])
            self.now_ns += S // 10
            live.tick()

    def promoted(self) -> list[int]:
        return [self.kernel.nodes_of(pid, HOT).count(0) for pid in self.pids]


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    return register(monkeypatch)


@pytest.fixture
def bench(tmp_path: Path, source: type[Scripted], monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path, source, "db-a", "db-b", "batch", "other")
    install(made.kernel, monkeypatch)
    return made


def test_the_first_group_that_fits_has_a_program_and_none_leaves_it_alone(bench: Bench) -> None:
    live = bench.live(group("kept", "db-b", "none"), group("databases", "db-*"), group("rest", "batch"))
    assert [space.name for space in live.spaces.spaces] == ["db-a", "batch"]
    bench.rounds(live, 5)
    assert bench.promoted() == [PAGES, 0, PAGES, 0]
    facts = status(live)
    assert facts["counters"]["pghot_skipped_foreign"] == 2 * 5 * PAGES, "what is not tracked is counted"
    assert [(each["name"], each["policy"], each["programs"]) for each in facts["groups"]] == [
        ("kept", "none", 1),
        ("databases", "pghot-default", 1),
        ("rest", "pghot-default", 1),
    ]
    assert [each["promoted_pages"] for each in facts["groups"]] == [0, PAGES, PAGES]
    assert facts["moves"]["promoted_pages"] == 2 * PAGES
    assert (
        "databases: 1 program, pghot-default, promoted 512 pages (2.0 MiB) of 1,000 MiB/s"
        in render_status(facts, None)
    )
    facts |= {"reload_accepted": True, "journal_bytes": 0, "rounds": 1, "rounds_late": 0}
    samples = {
        (sample.name, sample.labels["group"]): sample.value
        for family in families(facts)
        for sample in family.samples
        if "group" in sample.labels
    }
    assert samples["pghot_group_programs", "kept"] == 1
    assert samples["pghot_group_promoted_pages_total", "rest"] == PAGES


def test_each_group_is_judged_by_its_own_policy(bench: Bench) -> None:
    """Seen in four rounds: a threshold of two lets all pages of one group up, one of six none of the other."""
    live = bench.live(
        group("easy", "db-a", freq_threshold=2),
        group("hard", "db-b", "pghot-precise", freq_threshold=6),
        apply=False,
    )
    bench.rounds(live, 4)
    assert [each["promoted_pages"] for each in status(live)["groups"]] == [PAGES, 0]
    assert status(live)["policy"] == "pghot-default, pghot-precise"
    reported = [each.policy.counters()["pghot_reported_accesses"] for each in live.groups]
    assert reported == [4 * PAGES] * 2, "each hears of its own programs only"
    assert status(live)["counters"]["pghot_reported_accesses"] == 8 * PAGES


def test_each_group_keeps_its_rate_within_that_of_all(bench: Bench) -> None:
    """In 2 s 0.25 MiB/s are 128 pages, and 1 MiB/s for all together are 512."""
    live = bench.live(group("slow", "db-a", rate=0.25), group("fast", "db-b", rate=1.0), rate=1.0)
    bench.rounds(live, 20)
    slow, fast, *_ = bench.promoted()
    assert 120 <= slow <= 128
    assert fast >= 370
    assert slow + fast <= 512


def test_promotion_ends_at_its_goal(bench: Bench) -> None:
    """Of the 16,384 pages of the fast node a half is free. 55 % are 819 more; 1 MiB/s is 256 pages a second, of which a
    sixteenth, 16 pages, may be too many at the end. It takes some 20 s."""
    live = bench.live(group("all", "*"), rate=1.0, target=Goal("fast-used", 0.55))
    bench.rounds(live, 50)
    early = sum(bench.promoted())
    assert early < 5 * 128, "half the rate at most, 0.05 from the goal"
    assert "goal fast-used 0.55: now 5" in render_status(status(live), None)
    bench.rounds(live, 350)
    assert 819 <= sum(bench.promoted()) <= 819 + 16 + 1
    goal = status(live)["moves"]["goal"]
    assert goal is not None
    assert (goal["kind"], goal["wanted"], goal["rate_share"]) == ("fast-used", 0.55, 0)
    assert goal["measured"] == pytest.approx(0.55, abs=0.002)


def test_a_program_that_changes_its_group_is_followed(bench: Bench) -> None:
    root = bench.kernel.root
    members = GroupMembers(root, [group("a", "db-*"), group("b", "batch", "none")])
    assert members.now() == [501, 502]
    assert members.counts == [2, 1]
    pid = np.array([502, 501, 502], np.int32)
    ((number, its),) = members.split(pid)
    assert (number, np.asarray(its).tolist()) == (0, [True] * 3)
    put(root.root, "proc/502/status", "Name:\tbatch\nUid:\t0\t0\t0\t0\nVmRSS:\t2048 kB")
    assert members.now() == [501]
    assert {number: np.asarray(its).tolist() for number, its in members.split(pid)} == {
        0: [False, True, False],
        1: [True, False, True],
    }


def test_groups_ask_each_program_once(bench: Bench) -> None:
    """Four programs and ourselves, three groups that judge all of them, two looks at which all are asked."""
    members = GroupMembers(bench.kernel.root, [group(name, name) for name in ("x*", "y*", "db-*")])
    asked: list[int] = []

    def ask(root: SysRoot, pid: int) -> ProgramStatus | None:
        asked.append(pid)
        return read_status(root, pid)

    with mock.patch.object(members_module, "read_status", ask):
        for _ in range(2):
            asked.clear()
            assert members.now() == [501, 502]
            assert sorted(asked) == list(bench.pids)


def test_everything_that_groups_name_is_checked() -> None:
    one = Targets((1,), ("/a",), names=("x",), min_bytes=3, left_out=LeftOut(users=("u",)))
    two = Targets((1, 2), ("/b",), children=False, users=("v",), left_out=LeftOut(cgroups=("/c",)))
    assert all_targets([one, two]) == Targets(
        (1, 2), ("/a", "/b"), True, ("x",), ("v",), 3, LeftOut((), ("u",), ("/c",))
    )


@given(
    st.floats(0.01, 50),
    st.lists(st.floats(0.01, 50), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 2), st.integers(0, 5000)), max_size=40),
)
def test_no_pace_is_above_its_rate_or_that_of_all(
    rate: float, rates: list[float], steps: list[tuple[int, int, int]]
) -> None:
    """A page more than the rate allows at most, since a bucket keeps one."""
    whole = Pace(rate, 0)
    paces = [Pace(each, 0, whole) for each in rates]
    now_ms = 0
    for pause_ms, number, wish in steps:
        now_ms += pause_ms
        for pace in (whole, *paces):
            pace.tick(now_ms * 1_000_000)
        pace = paces[number % len(paces)]
        pace.spend(min(wish, pace.pages()), 0)
    for pace in paces:
        assert pace.promoted * 4096 <= pace.rate_mb_s * MIB * now_ms / 1000 + 4096
    assert sum(pace.promoted for pace in paces) * 4096 <= rate * MIB * now_ms / 1000 + 4096


def test_without_groups_all_programs_are_one(tmp_path: Path, source: type[Scripted]) -> None:
    bench = Bench(tmp_path, source, "a")
    members = GroupMembers(bench.kernel.root, LiveSettings(Targets((501,)), policy="none").all_groups)
    assert members.now() == [501], "the policy none tracks them, for a recording"
    assert list(members.split(np.array([501], np.int32))) == [(0, slice(None))]
    assert SysRoot(tmp_path) == bench.kernel.root
