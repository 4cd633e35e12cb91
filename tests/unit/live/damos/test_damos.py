"""DAMON as the mover, over a DAMON in a tree: what it is told and in which order, what is refused, counted, undone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.damon_tree import FakeDamon
from builders.live_loop import PAGE, START, FakeKernel, addresses, install, maps_line
from builders.machine_trees import NODES, Node, machine, put
from builders.scan_trees import words
from pghot.cli.live_options import damos_settings
from pghot.daemon.config import load_config
from pghot.daemon.daemon import live_settings
from pghot.errors import NotPermittedError, PghotError, UnsupportedError, UsageError
from pghot.kernel.cgroup import memory_cgroups
from pghot.kernel.damon_sysfs import NUMBER
from pghot.kernel.damos_sysfs import ANY_SIZE, MOST
from pghot.kernel.memory_blocks import BLOCK_SIZE
from pghot.kernel.pagemap import FILE_OR_SHARED, PRESENT
from pghot.kernel.sysroot import SysRoot
from pghot.live.damos.damos_needs import damos_needs
from pghot.live.damos.plan import LEAST_QUOTA_BYTES, DamosSettings, Planner
from pghot.live.journal import Journal
from pghot.live.journal_file import read_journal
from pghot.live.live_settings import LiveSettings, with_damos
from pghot.live.loop import Live
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.nodes import LiveTopology, read_nodes
from pghot.live.status import counters, status
from pghot.live.targets import Targets
from pghot.live.undo import undo, undo_open
from pghot.report.live_text import render_run

PID = 500
PAGES = 512
MIB = 1 << 20
# 32 MiB of node 0, then 32 MiB of node 1, the first page of all held by firmware.
SIZE = "{}/contexts/0/schemes/{}/access_pattern/sz/max"
IOMEM = "00000000-00000fff : Reserved\n00001000-03ffffff : System RAM\n"


@dataclass
class Bench:
    """A fake kernel with two nodes of 64 MiB, half of each free, and a program with 512 pages on the slow one."""

    kernel: FakeKernel
    damon: FakeDamon
    tree: Path
    now_ns: int = 10**12
    lives: list[Live] = field(default_factory=list)

    def live(self, journal: Journal | None, cgroup: str = "/jobs", **given: Any) -> Live:
        options = given.pop("options", {})
        apply = given.pop("apply", True)
        mover = MoverSettings(**{"rate_limit_mb_s": 4.0, "kind": "damos", "free_floor": 0.0, **given})
        targets = Targets((), (cgroup,)) if cgroup else Targets((PID,))
        settings = with_damos(LiveSettings(targets, apply=apply, mover=mover), options)
        return Live(self.kernel.root, settings, journal, lambda: self.now_ns)

    def tick(self, live: Live, ms: int = 100) -> None:
        self.now_ns += ms * 1_000_000
        live.tick()

    def acting(self, kdamond: int) -> list[int]:
        """Numbers of the schemes that may act."""
        count = int(self.damon.read(f"{kdamond}/contexts/0/schemes/nr_schemes"))
        return [number for number in range(count) if self.damon.read(SIZE.format(kdamond, number)) != "0"]

    def sweep(self, live: Live, kdamond: int = 1, byte_count: int = 32 * MIB) -> None:
        """The kernel has looked at so much in the first sweep, by default at all of node 1."""
        self.tick(live)
        self.damon.count(kdamond, 0, sz_tried=byte_count)
        self.tick(live, 1000)
        self.tick(live)

    def move(self, pages: int, node: int) -> None:
        """The kernel moves the first pages of the program, as its DAMON would."""
        self.kernel.move_pages(PID, addresses(0, pages), np.full(pages, node, np.int32))
        self.kernel.moves.clear()

    def free(self, node: int, pages: int) -> None:
        self.kernel.free[node] = pages
        self.kernel._show_free()


def benched(tree: Path, monkeypatch: pytest.MonkeyPatch, new: bool = False) -> Bench:
    kernel = FakeKernel(tree, 64)
    put(tree, "proc/sys/kernel/osrelease", "7.3.4" if new else "6.12.0")
    put(tree, "proc/iomem", IOMEM)
    put(tree, BLOCK_SIZE.lstrip("/"), "2000000")
    for node in (0, 1):
        (tree / NODES / f"node{node}/memory{node}").mkdir()
    kernel.program(PID, [maps_line(START, PAGES)])
    kernel.populate(PID, 0, PAGES, 1)
    put(tree, "sys/fs/cgroup/cgroup.procs", "1")
    group(tree, "jobs", PID)
    words(tree, f"/proc/{PID}/pagemap", 0, [0])
    install(kernel, monkeypatch)
    monkeypatch.setattr("pghot.live.damos.others.query_nodes", kernel.query_nodes)
    return Bench(kernel, FakeDamon(tree, monkeypatch, new), tree)


def group(tree: Path, name: str, *pids: int) -> None:
    put(tree, f"sys/fs/cgroup/{name}/cgroup.procs", "\n".join(map(str, pids)))
    put(tree, f"sys/fs/cgroup/{name}/memory.current", "0")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return benched(tmp_path, monkeypatch)


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The same with Linux 7.3."""
    return benched(tmp_path, monkeypatch, new=True)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "j.pghot-journal", SysRoot(tmp_path))


# ---- what DAMON is told

ATTRS = [
    ("operations", "paddr"),
    ("monitoring_attrs/intervals/sample_us", "5000"),
    ("monitoring_attrs/intervals/aggr_us", "100000"),
    ("monitoring_attrs/intervals/update_us", "1000000"),
    ("monitoring_attrs/nr_regions/max", "1000"),
    ("monitoring_attrs/nr_regions/min", "10"),
]


def scheme(
    action: str, nid: int, accesses: tuple[int, int], age: tuple[int, int], quota: int
) -> list[tuple[str, str]]:
    return [
        ("action", action),
        ("target_nid", str(nid)),
        ("access_pattern/nr_accesses/min", str(accesses[0])),
        ("access_pattern/nr_accesses/max", str(accesses[1])),
        ("access_pattern/age/min", str(age[0])),
        ("access_pattern/age/max", str(age[1])),
        ("quotas/bytes", str(quota)),
        ("quotas/reset_interval_ms", "100"),
    ]


def filters(*young: tuple[str, str]) -> list[tuple[str, str]]:
    """Others' pages are rejected first, so that their accessed bits are not even looked at."""
    found = [
        ("nr_filters", str(2 + bool(young))),
        ("0/type", "memcg"), ("0/memcg_path", "/jobs"), ("0/matching", "N"),
        ("1/type", "anon"), ("1/matching", "N"),
        *young,
    ]  # fmt: skip
    return [(f"filters/{name}", text) for name, text in found]


def below(path: str, writes: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(f"{path}/{name}", text) for name, text in writes]


def test_linux_6_12_is_told_byte_for_byte(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    fast, slow = "0/contexts/0", "1/contexts/0"
    quota = 4 * MIB // 10 // PAGE * PAGE
    expected = [
        ("nr_kdamonds", "2"),
        ("0/contexts/nr_contexts", "1"), *below(fast, ATTRS),
        ("1/contexts/nr_contexts", "1"), *below(slow, ATTRS),
        # The memory of node 0: what is cold there goes to node 1 when room is needed, which is not now.
        *below(fast, [
            ("targets/nr_targets", "1"), ("targets/0/regions/nr_regions", "1"),
            ("targets/0/regions/0/start", str(4096)), ("targets/0/regions/0/end", str(32 * MIB)),
            ("schemes/nr_schemes", "1"),
        ]),
        *below(f"{fast}/schemes/0", [
            *scheme("migrate_cold", 1, (0, 0), (50, MOST), 16 * quota),
            *filters(("2/type", "young"), ("2/matching", "Y")),
            ("access_pattern/sz/max", "0"),
        ]),
        ("0/state", "on"),
        # The memory of node 1: all pages are made old once (a migration to their own node), later those of regions that
        # just became hot; those that are then accessed go to node 0.
        *below(slow, [
            ("targets/nr_targets", "1"), ("targets/0/regions/nr_regions", "1"),
            ("targets/0/regions/0/start", str(32 * MIB)), ("targets/0/regions/0/end", str(64 * MIB)),
            ("schemes/nr_schemes", "3"),
        ]),
        *below(f"{slow}/schemes/0", [
            *scheme("migrate_hot", 1, (0, MOST), (0, MOST), 128 * MIB),
            *filters(("2/type", "young"), ("2/matching", "N")),
        ]),
        *below(f"{slow}/schemes/1", [
            *scheme("migrate_hot", 1, (1, MOST), (0, 0), 128 * MIB), *filters(("2/type", "young"), ("2/matching", "N")),
        ]),
        *below(f"{slow}/schemes/2", [
            *scheme("migrate_hot", 0, (1, MOST), (3, MOST), quota),
            *filters(("2/type", "young"), ("2/matching", "N")),
        ]),
        *((f"{slow}/schemes/{number}/access_pattern/sz/max", "0") for number in range(3)),
        ("1/state", "on"),
    ]  # fmt: skip
    assert bench.damon.take() == expected
    bench.tick(live)
    assert bench.damon.take() == [
        ("0/state", "update_schemes_effective_quotas"),
        ("1/state", "update_schemes_effective_quotas"),
        (f"{slow}/schemes/0/access_pattern/sz/max", str(ANY_SIZE)),
        *((f"{slow}/schemes/{number}/access_pattern/sz/max", "0") for number in (1, 2)),
        ("1/state", "commit"),
    ]


def test_nothing_acts_before_its_quota_is_in_force(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    bench.damon.in_force = False
    bench.tick(live)
    bench.tick(live)
    asked = ("1/state", "update_schemes_effective_quotas")
    assert bench.damon.take().count(asked) == 1, "not each round"
    bench.tick(live, 400)
    assert bench.acting(1) == []
    bench.damon.in_force = True
    bench.tick(live, 400)
    assert bench.acting(1) == [0]


def test_schemes_that_join_wait_for_theirs(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    bench.sweep(live)
    group(bench.tree, "jobs/a")
    bench.damon.in_force = False
    bench.tick(live, 1000)
    assert bench.acting(1) == [1, 2], "of six"
    bench.damon.in_force = True
    bench.tick(live, 400)
    assert bench.acting(1) == [1, 2, 4, 5], "what joins has no old pages, and holds up nothing"


# ---- the sweep


def test_nothing_moves_before_every_page_was_looked_at(bench: Bench, journal: Journal) -> None:
    """Node 1 has 32 MiB: after 31 a cold page may still count as young. Regions are looked at in turn."""
    live = bench.live(journal)
    live.start()
    bench.sweep(live, byte_count=8 * MIB)
    assert bench.acting(1) == [0]
    facts = json.loads(json.dumps(status(live)))
    assert [scheme["swept"] for scheme in facts["mover"]["schemes"]] == [1.0, 0.25, 0.25, 0.25]
    assert "migrate_hot node 1 -> 0 of /jobs: waits, 25 % of the pages were looked at once;" in render_run(
        facts
    )
    bench.sweep(live, byte_count=31 * MIB)
    assert bench.acting(1) == [0]
    bench.sweep(live)
    assert bench.acting(1) == [1, 2]
    facts = json.loads(json.dumps(status(live)))
    assert facts["mover"]["schemes"][3]["swept"] == 1
    assert "of /jobs: acts;" in render_run(facts)


def test_the_slowest_cgroup_tells_how_far_it_is(bench: Bench, journal: Journal) -> None:
    group(bench.tree, "jobs/a")
    live = bench.live(journal)
    live.start()
    bench.sweep(live)
    assert bench.acting(1) == [0, 3]
    bench.damon.count(1, 3, sz_tried=32 * MIB)
    bench.sweep(live)
    assert bench.acting(1) == [1, 2, 4, 5]


def test_promotion_waits_five_minutes_at_most_and_says_so(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    bench.sweep(live, byte_count=8 * MIB)
    bench.tick(live, 298_000)
    assert bench.acting(1) == [0], "299.1 s after it began"
    bench.tick(live, 900)
    assert bench.acting(1) == [0, 1, 2], "and the sweep goes on"
    facts = json.loads(json.dumps(status(live)))
    assert "of /jobs: acts, though only 25 % of the pages were looked at once;" in render_run(facts)


def test_all_pages_are_looked_at_again_each_minute(bench: Bench, journal: Journal) -> None:
    """Of programs that came since, and of regions that became hot without getting a new age."""
    live = bench.live(journal)
    live.start()
    bench.sweep(live)  # over at 1.1 s, and now it is 1.2 s
    bench.tick(live, 59_000)
    bench.tick(live, 800)
    assert bench.acting(1) == [1, 2], "59.9 s after its end"
    bench.tick(live)
    assert bench.acting(1) == [0, 1, 2], "promotion waits for the first alone"
    bench.sweep(live, byte_count=63 * MIB)
    assert bench.acting(1) == [0, 1, 2]
    bench.sweep(live, byte_count=64 * MIB)
    assert bench.acting(1) == [1, 2]


def test_a_kdamond_that_starts_anew_sweeps_anew(new: Bench, journal: Journal) -> None:
    live = new.live(journal, cgroup="")
    live.start()
    new.sweep(live, 0, PAGES * PAGE)
    assert new.acting(0) == [1, 2]
    new.damon._put("0/state", "off")  # its last program ended
    new.damon.count(0, 0, sz_tried=0)
    new.tick(live, 1000)
    new.tick(live)
    assert new.acting(0) == [0]


def test_without_an_action_that_looks_nothing_waits(bench: Bench) -> None:
    """In a dry run of 6.12, where `stat` does not look at pages."""
    live = bench.live(None, apply=False)
    live.start()
    bench.tick(live)
    assert bench.acting(1) == [0]
    facts = json.loads(json.dumps(status(live)))
    assert [scheme["when"] for scheme in facts["mover"]["schemes"]] == ["demote", "promote"]
    assert facts["mover"]["schemes"][1]["swept"] == 1


# ---- programs, dry runs, cgroups


def test_linux_7_3_is_told_the_programs_ranges_and_keeps_the_floor_itself(
    new: Bench, journal: Journal
) -> None:
    new.live(journal, cgroup="", free_floor=0.25).start()
    context = "0/contexts/0"
    assert new.damon.read("nr_kdamonds") == "1"
    assert new.damon.read(f"{context}/operations") == "fvaddr"
    assert new.damon.read(f"{context}/targets/0/pid_target") == str(PID)
    assert new.damon.read(f"{context}/targets/0/regions/0/start") == str(START)
    assert new.damon.read(f"{context}/targets/0/regions/0/end") == str(START + PAGES * PAGE)
    told = {path.removeprefix(f"{context}/schemes/"): text for path, text in new.damon.writes}
    assert [told[f"{i}/action"] for i in range(4)] == ["stat", "stat", "migrate_hot", "migrate_cold"]
    assert "0/target_nid" not in told
    assert told["2/quotas/goal_tuner"] == "temporal"
    assert told["2/quotas/goals/0/target_metric"] == "node_mem_used_bp"
    assert told["2/quotas/goals/0/nid"] == "0"
    floor, quota, all_ = 4096, 4 * MIB // 10 // PAGE, 64 * 256
    assert told["2/quotas/goals/0/target_value"] == str(10_000 * (all_ - floor - quota) // all_)
    assert [told[f"2/quotas/fail_charge_{each}"] for each in ("num", "denom")] == ["1", "1024"]
    assert not [path for path in told if path[:2] in ("0/", "1/") and "fail_charge" in path], (
        "stat moves nothing"
    )
    assert told["1/ops_filters/nr_filters"] == "2"
    assert told["1/ops_filters/0/type"] == "anon"
    assert {text for path, text in told.items() if path.endswith("/allow")} == {"N"}
    assert "1/filters/nr_filters" not in told


def test_a_dry_run_moves_nothing(bench: Bench) -> None:
    bench.live(None, apply=False).start()
    assert {text for path, text in bench.damon.writes if path.endswith("/action")} == {"stat"}
    assert not [path for path, _ in bench.damon.writes if path.endswith("target_nid")]


def test_without_young_whole_regions_move_and_nothing_is_primed(bench: Bench, journal: Journal) -> None:
    bench.live(journal, options={"young": False}).start()
    assert bench.damon.read("1/contexts/0/schemes/nr_schemes") == "1"
    assert not [text for path, text in bench.damon.writes if path.endswith("/type") and text == "young"]


def test_each_cgroup_with_memory_of_its_own_has_schemes_and_a_share_of_the_rate(
    bench: Bench, journal: Journal
) -> None:
    group(bench.tree, "jobs/a b")
    put(bench.tree, "sys/fs/cgroup/jobs/plain/cgroup.procs", "")
    bench.live(journal).start()
    named = [text for path, text in bench.damon.writes if path.endswith("memcg_path")]
    assert sorted(set(named)) == ["/jobs", "/jobs/a b"]
    limits = [text for path, text in bench.damon.writes if path.endswith("quotas/bytes") and text != "0"]
    share = 4 * MIB // 20 // PAGE * PAGE
    assert set(limits) == {str(share), str(16 * share), str(128 * MIB)}


def two_nodes(tree: Path) -> SysRoot:
    return machine(tree, Node(0, "10 20", "0", 64, 4), Node(1, "20 10", "", 64, 45))


def planner_of(topology: LiveTopology | None, rate_mb_s: float) -> Planner:
    return Planner(
        topology=topology,  # type: ignore[arg-type]
        settings=DamosSettings(),
        rate_mb_s=rate_mb_s,
        demote=True,
        floor_pages=(0,) * 4,
        release=(6, 12),
        apply=True,
    )


@given(st.floats(0.001, 1e6), st.integers(1, 500))
def test_quotas_keep_to_the_rate(rate_mb_s: float, sharing: int) -> None:
    planner = planner_of(None, rate_mb_s)
    bytes_, reset_ms = planner.quota(sharing)
    assert bytes_ * sharing * 1000 / reset_ms <= rate_mb_s * MIB * (1 + 1e-9)
    assert bytes_ >= LEAST_QUOTA_BYTES
    assert bytes_ % PAGE == 0


@pytest.mark.parametrize("rate_mb_s, demote", [(256.0, 128 * MIB), (0.3, 16 * 65536)])
def test_looking_is_bounded_in_whole_pages(tmp_path: Path, rate_mb_s: float, demote: int) -> None:
    """The kernel would begin each interval with the same regions otherwise. 1280 MiB/s are 128 MiB per aggregation,
    however slowly pages move: 64 KiB in 209 ms."""
    planner = planner_of(read_nodes(two_nodes(tmp_path)), rate_mb_s)
    steps = [step for lane in planner.by_node(["/a"]) for step in lane.steps]
    promote, reset_ms = planner.quota(1)
    assert {step.when: (step.scheme.quota_bytes, step.scheme.reset_ms) for step in steps} == {
        "sweep": (128 * MIB, 100),
        "prime": (128 * MIB, 100),
        "promote": (promote, reset_ms),
        "demote": (demote, reset_ms),
    }
    assert promote % PAGE == 0


def test_memory_is_watched_in_whole_pages(bench: Bench, journal: Journal) -> None:
    """A BIOS leaves its first 640 KiB like this; quotas of whole pages fit no region with a piece of a page."""
    put(bench.tree, "proc/iomem", "00000400-0009fbff : System RAM\n00100000-03ffffff : System RAM\n")
    bench.live(journal).start()
    regions = "0/contexts/0/targets/0/regions"
    found = [bench.damon.read(f"{regions}/{number}/{end}") for number in (0, 1) for end in ("start", "end")]
    assert [int(each) for each in found] == [0x1000, 0x9F000, 0x100000, 32 * MIB]


def test_each_node_promotes_to_the_nearest_fast_one_and_demotes_below(tmp_path: Path) -> None:
    """Two sockets with DRAM and CXL each."""
    root = machine(
        tmp_path, Node(0, "10 21 14 24", "0", 64, 4), Node(1, "21 10 24 14", "1", 64, 4),
        Node(2, "14 24 10 26", "", 64, 45), Node(3, "24 14 26 10", "", 64, 45),
    )  # fmt: skip
    planner = planner_of(read_nodes(root), 256.0)
    steps = [(lane.node, step.when, step.target) for lane in planner.by_node(["/a"]) for step in lane.steps]
    assert [each for each in steps if each[1] in ("promote", "demote")] == [
        (0, "demote", 2), (1, "demote", 3), (2, "promote", 0), (3, "promote", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("release, ages", [((6, 13), [(0, MOST), (0, 0)]), ((6, 14), [(0, MOST), (0, 2)])])
def test_where_looking_sets_the_age_to_zero_a_region_is_primed_once(
    tmp_path: Path, release: tuple[int, int], ages: list[tuple[int, int]]
) -> None:
    """Else it would never get old enough to move. `stat`, which looks since 6.14, leaves the age alone."""
    planner = replace(planner_of(read_nodes(two_nodes(tmp_path)), 256.0), release=release)
    steps = [
        step for lane in planner.by_node(["/a"]) for step in lane.steps if step.when in ("sweep", "prime")
    ]
    assert [step.scheme.age for step in steps] == ages


# ---- before, during, after


def test_every_page_is_in_the_journal_before_a_kdamond_is_switched_on(bench: Bench, journal: Journal) -> None:
    known: list[int] = []
    order: Callable[[str, str], None] = bench.damon._order

    def look(path: str, text: str) -> None:
        if text == "on":
            known.append(sum(len(entry.origins()[0]) for entry in read_journal(journal.path).spaces))
        order(path, text)

    bench.damon._order = look  # type: ignore[method-assign]
    bench.live(journal).start()
    assert known == [PAGES, PAGES]


def test_copies_of_file_pages_are_written_down_too(bench: Bench, journal: Journal) -> None:
    """DAMON of physical memory moves them, though pghot never does."""
    data = START + (1 << 30)
    bench.kernel.program(PID, [maps_line(START, PAGES), maps_line(data, 4, inode=7, name="/lib/x.so")])
    bench.kernel.populate(PID, 0, 4, 1, data)
    words(bench.tree, f"/proc/{PID}/pagemap", data // PAGE, [PRESENT, PRESENT | FILE_OR_SHARED, PRESENT, 0])
    bench.live(journal).start()
    (entry,) = read_journal(journal.path).spaces
    address = entry.origins()[0].tolist()
    assert len(address) == PAGES + 2
    assert address[PAGES:] == [data, data + 2 * PAGE]


def test_what_moved_is_counted_and_comes_home(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    bench.kernel.journal = journal.path
    bench.move(100, 0)
    bench.tick(live, 1000)
    assert counters(live)["pgpromote_success"] == 100
    bench.move(30, 1)
    assert live.stop() == []
    assert bench.damon.writes[-3:] == [("1/state", "off"), ("0/state", "off"), ("nr_kdamonds", "0")]
    assert counters(live)["pgdemote_proactive"] == 30, "counted after the last kdamond was off"
    assert undo_open(journal, bench.kernel.root).pages_back == 70


def test_new_pages_are_written_down_before_long(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    bench.kernel.program(PID, [maps_line(START, PAGES + 8)])
    bench.kernel.populate(PID, PAGES, 8, 1)
    bench.tick(live, 1000)
    (entry,) = read_journal(journal.path).spaces
    assert len(entry.origins()[0]) == PAGES + 8


def test_a_killed_run_is_undone(bench: Bench, journal: Journal) -> None:
    bench.live(journal).start()
    bench.move(100, 0)
    bench.damon.take()
    journal.close()
    done = undo(read_journal(journal.path), bench.kernel.root)
    assert bench.damon.take() == [("1/state", "off"), ("0/state", "off"), ("nr_kdamonds", "0")]
    assert (done.pages_back, done.problems) == (100, [])


def test_the_kernels_statistics_are_told(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    bench.sweep(live)
    bench.damon.count(1, 1, nr_tried=999, sz_tried=999)
    bench.damon.count(1, 2, nr_tried=5, sz_tried=8 << 20, sz_applied=3 << 20, qt_exceeds=2)
    bench.tick(live, 6000)
    bench.tick(live)
    told = counters(live)
    assert (told["damos_nr_tried"], told["damos_sz_applied"], told["damos_qt_exceeds"]) == (5, 3 << 20, 2)
    facts = json.loads(json.dumps(status(live)))
    assert facts["mover"]["schemes"][3]["sz_tried"] == 8 << 20
    assert "migrate_hot node 1 -> 0 of /jobs: acts; 5 regions tried, 3.0 MiB done" in render_run(facts)


# ---- the free floor


def test_promotion_is_held_back_near_the_floor_and_cold_pages_make_room(
    bench: Bench, journal: Journal
) -> None:
    live = bench.live(journal)
    live.start()

    def acting() -> list[bool]:
        return [2 in bench.acting(1), 0 in bench.acting(0)]

    assert acting() == [False, False]
    bench.sweep(live)
    assert acting() == [True, False]
    assert live.damos is not None
    slack, drift = live.damos._slack_pages(100), live.machine.nodes.drift_pages
    floor = int(live.machine.floor_pages[0])
    for room, expected in (
        (1.9, [True, True]), (0.9, [False, True]), (1.9, [False, True]), (2.1, [True, True]), (3.1, [True, False]),
    ):  # fmt: skip
        bench.damon.take()
        bench.free(0, floor + drift + int(room * slack))
        bench.tick(live)
        assert acting() == expected, room
    assert counters(live)["damos_held_back"] == 1


def test_a_change_is_committed_and_nothing_else_is(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    bench.sweep(live)
    bench.damon.take()
    bench.tick(live)
    assert bench.damon.take() == []
    bench.free(0, 0)
    bench.tick(live)
    orders = [write for write in bench.damon.take() if write[0].endswith("state")]
    assert orders == [("0/state", "commit"), ("1/state", "commit")]


def test_demotion_waits_for_room_below(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    bench.free(0, 0)
    bench.free(1, 0)
    bench.tick(live)
    assert bench.damon.read("0/contexts/0/schemes/0/access_pattern/sz/max") == "0"


def test_no_demotion_when_told_so(bench: Bench, journal: Journal) -> None:
    bench.live(journal, demotion="off").start()
    assert bench.damon.read("nr_kdamonds") == "1"


# ---- programs and cgroups that come and go


def test_other_ranges_are_committed(new: Bench, journal: Journal) -> None:
    live = new.live(journal, cgroup="")
    live.start()
    new.kernel.program(PID, [maps_line(START, PAGES + 8)])
    new.tick(live, 1000)
    assert new.damon.read("0/contexts/0/targets/0/regions/0/end") == str(START + (PAGES + 8) * PAGE)
    assert ("0/state", "commit") in new.damon.writes


def test_a_new_cgroup_below_is_followed_and_counts_stay(bench: Bench, journal: Journal) -> None:
    group(bench.tree, "jobs/a")
    live = bench.live(journal)
    live.start()
    for number in (2, 5):
        bench.damon.count(1, number, sz_applied=4096)
    bench.tick(live, 6000)
    (bench.tree / "sys/fs/cgroup/jobs/a/memory.current").unlink()
    bench.tick(live, 1000)
    assert bench.damon.read("1/contexts/0/schemes/nr_schemes") == "3"
    bench.damon.count(1, 2, sz_applied=8192)
    bench.tick(live, 6000)
    assert counters(live)["damos_sz_applied"] == 4096 + 8192


def test_a_refused_change_switches_off_and_is_tried_again(bench: Bench, journal: Journal) -> None:
    """Else a promotion that should be held back would go on."""
    live = bench.live(journal)
    live.start()
    bench.sweep(live)
    bench.damon.refuses = True
    bench.free(0, 0)
    bench.tick(live)
    assert bench.damon.read("1/state") == "off"
    bench.tick(live, 1000)
    assert counters(live)["damos_refused_commits"] >= 2
    bench.damon.refuses = False
    bench.tick(live, 1000)
    assert bench.damon.read("1/state") == "on"
    assert live.stop() == []
    assert bench.damon.read("nr_kdamonds") == "0"


def test_a_cgroup_that_went_takes_its_filter_along(bench: Bench, journal: Journal) -> None:
    """The kernel gives its number to a later one."""
    live = bench.live(journal)
    live.start()
    shutil.rmtree(bench.tree / "sys/fs/cgroup/jobs")
    bench.tick(live, 1000)
    assert [bench.damon.read(f"{number}/state") for number in range(2)] == ["off", "off"]
    group(bench.tree, "jobs", PID)
    bench.tick(live, 1000)
    assert [bench.damon.read(f"{number}/state") for number in range(2)] == ["on", "on"]


def test_a_cgroup_made_anew_is_told_anew(bench: Bench, journal: Journal) -> None:
    live = bench.live(journal)
    live.start()
    other = bench.tree / "other"
    other.mkdir()  # so that the directory cannot get the same inode
    shutil.copytree(bench.tree / "sys/fs/cgroup/jobs", other / "jobs")
    shutil.rmtree(bench.tree / "sys/fs/cgroup/jobs")
    (other / "jobs").rename(bench.tree / "sys/fs/cgroup/jobs")
    bench.damon.take()
    bench.tick(live, 1000)
    assert ("1/state", "commit") in bench.damon.take()


def test_counts_only_rise_when_a_kdamond_starts_anew(new: Bench, journal: Journal) -> None:
    live = new.live(journal, cgroup="")
    live.start()
    new.damon.count(0, 2, sz_applied=4096)
    new.tick(live, 6000)
    new.damon._put("0/state", "off")  # its last program ended
    new.damon.count(0, 2, sz_applied=0)
    new.tick(live, 1000)
    assert new.damon.read("0/state") == "on"
    new.damon.count(0, 2, sz_applied=8192)
    new.tick(live, 6000)
    assert counters(live)["damos_sz_applied"] == 4096 + 8192


def test_pages_of_new_ranges_are_written_down_before_damon_hears_of_them(
    new: Bench, journal: Journal
) -> None:
    live = new.live(journal, cgroup="")
    live.start()
    assert live.damos is not None
    live.damos._look_cost_ms = 1e9  # not due for long
    known: list[int] = []
    order: Callable[[str, str], None] = new.damon._order

    def look(path: str, text: str) -> None:
        known.append(sum(len(entry.origins()[0]) for entry in read_journal(journal.path).spaces))
        order(path, text)

    new.damon._order = look  # type: ignore[method-assign]
    new.kernel.program(PID, [maps_line(START, PAGES + 8)])
    new.kernel.populate(PID, PAGES, 8, 1)
    new.tick(live, 1000)
    assert known[0] == PAGES + 8


def test_it_ends_with_its_programs_and_starts_with_the_next(new: Bench, journal: Journal) -> None:
    live = new.live(journal, cgroup="")
    live.start()
    new.kernel.exit(PID)
    new.damon._put("0/state", "off")
    new.damon.take()
    new.tick(live, 1000)
    assert ("0/state", "on") not in new.damon.take()
    new.kernel.program(PID, [maps_line(START, PAGES)], start_ticks=200)
    new.tick(live, 1000)
    assert ("0/state", "on") in new.damon.take()


# ---- refusals


def test_single_programs_are_refused_before_linux_6_17(bench: Bench) -> None:
    with pytest.raises(UnsupportedError, match=r"since Linux 6\.17 only; this is Linux 6\.12") as caught:
        bench.live(None, cgroup="")
    assert "--cgroup" in caught.value.hint


@pytest.mark.parametrize("release, by_cgroup, met", [
    ("6.10.9", True, False), ("6.11.0", True, True), ("6.16.9", False, False), ("6.17.0", False, True),
])  # fmt: skip
def test_the_kernels_that_have_it(bench: Bench, release: str, by_cgroup: bool, met: bool) -> None:
    put(bench.tree, "proc/sys/kernel/osrelease", release)
    needs = damos_needs(bench.kernel.root, read_nodes(bench.kernel.root), by_cgroup)
    assert all(need.met for need in needs) is met


def test_single_programs_need_exactly_two_nodes(new: Bench, tmp_path: Path) -> None:
    root = machine(
        tmp_path / "three", Node(0, "10 20 30", "0", 64, 4), Node(1, "20 10 40", "", 64, 45),
        Node(2, "30 40 10", "", 64, 46), release="7.3.4",
    )  # fmt: skip
    unmet = [need.why for need in damos_needs(root, read_nodes(root), False) if not need.met]
    assert "one fast and one slow node" in unmet[0]


def test_a_cgroup_whose_memory_is_not_counted_on_its_own_is_refused(bench: Bench, journal: Journal) -> None:
    put(bench.tree, "sys/fs/cgroup/plain/cgroup.procs", str(PID))
    live = bench.live(journal, cgroup="/plain")
    with pytest.raises(UsageError, match="not counted on its own") as caught:
        live.start()
    assert "echo +memory > /sys/fs/cgroup/cgroup.subtree_control" in caught.value.hint
    assert live.stop() == []
    assert bench.damon.read("nr_kdamonds") == "0"
    assert memory_cgroups(bench.kernel.root, "/gone") == []


def test_a_kdamond_of_somebody_else_is_refused(bench: Bench) -> None:
    put(bench.tree, NUMBER.lstrip("/"), "1")
    live = bench.live(None)
    with pytest.raises(UnsupportedError, match="somebody else"):
        live.start()
    assert live.stop() == []
    assert bench.damon.writes == []


def test_hidden_physical_addresses_are_a_matter_of_rights(bench: Bench) -> None:
    put(bench.tree, "proc/iomem", "00000000-00000000 : System RAM")
    with pytest.raises(NotPermittedError, match="iomem"):
        bench.live(None).start()


def test_the_kernels_own_choice_of_cold_pages_is_another_mover(bench: Bench) -> None:
    with pytest.raises(UsageError, match="reclaim"):
        bench.live(None, demotion="reclaim")


def test_an_option_that_it_does_not_have_is_a_mistake() -> None:
    mover = MoverSettings(kind="damos")
    with pytest.raises(UsageError, match="unknown option of 'damos'"):
        damos_settings(["damos.min_acceses=3"], mover, True)


@pytest.mark.parametrize(
    "options",
    [
        {"min_acceses": 1},
        {"young": 1},
        {"min_age": -1},
        {"min_age": 1.5},
        {"min_regions": 2},
        {"sample_us": 0},
    ],
)
def test_options_that_cannot_be_are_mistakes(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="|".join(options)):
        DamosSettings.of(options)


def test_the_daemons_configuration(tmp_path: Path) -> None:
    path = tmp_path / "pghot.toml"
    text = "apply = true\n[targets]\ncgroups = ['/jobs']\n[mover]\nkind = 'damos'\n[options.damos]\nmin_age = 7\n"
    path.write_text(text)
    settings = live_settings(load_config(path))
    assert (settings.mover.kind, settings.sources, settings.policy) == ("damos", (), "none")
    assert settings.damos.min_age == 7
    path.write_text("sources = ['idle']\n" + text)
    with pytest.raises(UsageError, match="leave out sources"):
        load_config(path)


def test_cgroups_and_pids_together_are_a_mistake(bench: Bench) -> None:
    settings = with_damos(LiveSettings(Targets((PID,), ("/jobs",)), mover=MoverSettings(kind="damos")), {})
    with pytest.raises(UsageError, match="not both"):
        Live(bench.kernel.root, settings, None)


def test_more_address_space_than_is_tracked_ends_the_run(bench: Bench, journal: Journal) -> None:
    """What has no section has no origin in the journal."""
    live = bench.live(journal)
    live.start()
    live.spaces.skipped["no_section"] = 1
    with pytest.raises(PghotError, match="more address space"):
        bench.tick(live, 1000)
    assert live.stop() == []
