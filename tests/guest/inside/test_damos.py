"""DAMON as the mover: the kernel finds and moves, pghot arms, bounds, counts and undoes. 6.12 moves pages of cgroups
only; 7.3 those of single programs too."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import (
    PGHOT_MIB,
    Pghot,
    Program,
    free_mib,
    kept_mib,
    knobs,
    pghot,
    report,
)

from pghot.kernel.damon_sysfs import NUMBER, state_of

HOME = Path("/sys/fs/cgroup")
# All regions move, at once: where it does not matter which.
LOOSE = ["--set", "damos.young=false", "--set", "damos.min_age=0", "--set", "damos.min_accesses=0"]

REGIONS = ("flush", "run=1024")  # 4 MiB each: DAMON looks at one page of a region


@pytest.fixture(autouse=True)
def _no_kdamonds() -> Iterator[None]:
    """What a failed test left behind is not the next one's."""
    yield
    for number in range(int(Path(NUMBER).read_text())):
        with contextlib.suppress(OSError):
            Path(state_of(number)).write_text("off")
    Path(NUMBER).write_text("0")


@contextlib.contextmanager
def inside(name: str) -> Iterator[str]:
    """What is started here is born in the group, so that its memory is charged to it."""
    (HOME / "cgroup.subtree_control").write_text("+memory")
    (HOME / name).mkdir(exist_ok=True)
    (HOME / name / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield f"/{name}"
    finally:
        (HOME / "cgroup.procs").write_text(str(os.getpid()))


def bring(words: list[str], program: Program, other: Program, journal: Path) -> None:
    """Run until a fifth of the hot pages are on node 0, for which DAMON takes seconds or half a minute; then undo."""
    before = knobs()
    with Pghot("run", "--apply", "--mover", "damos", *words, "--journal", str(journal), "--json") as run:
        reached = program.arrives(0.2, run=run)
        run.goes_on(1)
        where = program.on(0)
        code, out, err = run.finish()
    assert knobs() == before, "every knob is back"
    assert code == 130, err
    assert where.cold < where.hot / 2
    facts = json.loads(out)
    report(
        "damos",
        {"kernel": os.uname().release, "targets": words[0], "coverage": where.hot, "cold_share": where.cold,
         "reached_s": reached, "promoted_pages": facts["moves"]["promoted_pages"],
         "sz_applied_pages": facts["counters"]["damos_sz_applied"] // 4096,
         "sz_tried_mib": facts["counters"]["damos_sz_tried"] >> 20, "qt_exceeds": facts["counters"]["damos_qt_exceeds"],
         "held_back": facts["counters"]["damos_held_back"], "cpu_s": facts["counters"]["pghot_cpu_seconds"],
         "seconds": facts["seconds"]},
    )  # fmt: skip
    assert (other.nodes() == 1).all(), "a program that is not tracked was moved"
    moved = int((program.nodes() == 0).sum())
    assert facts["moves"]["promoted_pages"] >= moved, "each is counted"
    code, out, err = pghot("undo", str(journal), "--json")
    assert code == 0, err
    assert (program.nodes() == 1).all(), "all are home"


@pytest.mark.two_tiers
@pytest.mark.linux_7_3
@pytest.mark.long
def test_the_hot_pages_of_a_cgroup_and_of_nobody_else(tmp_path: Path) -> None:
    with inside("damos-one") as group:
        program = Program(128, 0.25, 1, *REGIONS)
    with inside("damos-two"):
        other = Program(128, 0.25, 1)
    with program, other:
        bring(["--cgroup", group, "--rate", "64"], program, other, tmp_path / "j.pghot-journal")


@pytest.mark.linux_7_3
def test_the_hot_pages_of_a_single_program(tmp_path: Path) -> None:
    with Program(128, 0.25, 1, *REGIONS) as program, Program(128, 0.25, 1) as other:
        bring(["-p", str(program.pid), "--rate", "64"], program, other, tmp_path / "j.pghot-journal")


@pytest.mark.two_tiers
def test_single_programs_are_refused_by_6_12(tmp_path: Path) -> None:
    with Program(16, 0.25, 1) as program:
        words = ["-p", str(program.pid), "--journal", str(tmp_path / "j.pghot-journal")]
        code, _, err = pghot("run", "--apply", "--mover", "damos", *words)
    assert code == 3
    assert "6.17" in err
    assert "--cgroup" in err


@pytest.mark.two_tiers
@pytest.mark.linux_7_3
def test_undo_after_a_kill_ends_every_kdamond_and_brings_the_pages_home(tmp_path: Path) -> None:
    """At a rate for which the guest's node 0 has room: at 256 MiB/s promotion waits for 260 MiB above the floor."""
    before, journal = knobs(), tmp_path / "j.pghot-journal"
    with inside("damos-killed") as group:
        program = Program(64, 0.5, 1)
    with program:
        with Pghot(
            "run",
            "--apply",
            "--mover",
            "damos",
            "--cgroup",
            group,
            "--rate",
            "32",
            "--journal",
            str(journal),
            *LOOSE,
        ) as run:
            program.arrives(0.1, run=run)
            run.finish(signal.SIGKILL)
        states = [
            Path(state_of(number)).read_text().strip() for number in range(int(Path(NUMBER).read_text()))
        ]
        assert states == ["on", "on"], "nobody ended them"
        code, out, err = pghot("undo", str(journal), "--json")
        assert code == 0, err
        assert json.loads(out)["pages_back"] > 0
        assert knobs() == before
        assert Path(NUMBER).read_text().strip() == "0"
        assert (program.nodes() == 1).all()


def stands_still(run: Pghot) -> bool:
    """Whether it has promoted as much, and something, by each of its last four status lines, seconds apart."""
    told = re.findall(r"promoted ([0-9.]+ \w+)", run.said())[-4:]
    return len(told) == 4 and len(set(told)) == 1 and float(told[0].split()[0]) > 0


@pytest.mark.two_tiers
@pytest.mark.linux_7_3
@pytest.mark.long
def test_the_free_floor_and_the_rate_are_held(tmp_path: Path) -> None:
    """More wants to move than there is room for: promotion is held back before the floor."""
    rate_mb_s = 16
    with inside("damos-floor") as group:
        program = Program(192, 0.5, 1)
    words = ["--cgroup", group, "--rate", str(rate_mb_s), "--demotion", "off", *LOOSE]
    with program, Program(int(free_mib(0) - kept_mib()) - 40 - PGHOT_MIB, 0.25, 0, "idle") as other:
        with Pghot(
            "run",
            "--apply",
            "--mover",
            "damos",
            *words,
            "--journal",
            str(tmp_path / "j.pghot-journal"),
            "--json",
        ) as run:
            run.until(lambda: stands_still(run), "promotion at a stand")
            code, out, err = run.finish()
        assert (other.nodes() == 0).all(), "a program outside the cgroup was moved"
    assert code == 130, err
    facts = json.loads(out)
    moves, counters = facts["moves"], facts["counters"]
    report(
        "damos floor",
        {"kernel": os.uname().release, "promoted_mib": moves["promoted_pages"] / 256, "seconds": facts["seconds"],
         "lowest_above_floor_mib": moves["lowest_free_above_floor_pages"] / 256,
         "held_back": counters["damos_held_back"]},
    )  # fmt: skip
    assert moves["promoted_pages"] > 0
    assert moves["lowest_free_above_floor_pages"] >= 0
    assert counters["damos_held_back"] > 0
    assert counters["damos_sz_applied"] <= 1.05 * rate_mb_s * facts["seconds"] * 2**20


@pytest.mark.two_tiers
@pytest.mark.linux_7_3
def test_cold_pages_of_the_cgroup_make_room_and_others_do_not(tmp_path: Path) -> None:
    with inside("damos-room") as group:
        program, idle = Program(64, 0.5, 1), Program(96, 0.25, 0, "idle")
    words = ["--cgroup", group, "--rate", "32", "--set", "damos.cold_age=5"]
    with program, idle, Program(int(free_mib(0)) - 30 - PGHOT_MIB, 0.25, 0, "idle") as other:
        with Pghot(
            "run",
            "--apply",
            "--mover",
            "damos",
            *words,
            "--journal",
            str(tmp_path / "j.pghot-journal"),
            "--json",
        ) as run:
            run.until(lambda: (idle.nodes() == 1).mean() > 0.1, "cold pages on node 1")
            code, out, err = run.finish()
        assert (other.nodes() == 0).all(), "a program outside the cgroup was moved"
    assert code == 130, err
    assert json.loads(out)["moves"]["demoted_pages"] > 0
