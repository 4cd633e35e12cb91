"""Some programs and not others, memory under a policy of its owner, and a goal in place of a rate."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from helpers import SHARED, Daemon, Pghot, Program, free_mib, knobs, report

pytestmark = pytest.mark.two_tiers

PREFERRED = """
import ctypes, os, sys
assert ctypes.CDLL(None).syscall(238, 1, ctypes.byref(ctypes.c_ulong(2)), 64) == 0  # set_mempolicy(2), node 1
os.execv(sys.argv[1], sys.argv[1:])
"""


def size_mib(node: int) -> float:
    text = Path(f"/sys/devices/system/node/node{node}/meminfo").read_text()
    return next(int(line.split()[3]) / 1024 for line in text.splitlines() if "MemTotal" in line)


@pytest.mark.long
def test_groups_are_treated_differently(tmp_path: Path) -> None:
    """The first group that a program fits has it: of two of one name the one with more memory is left alone."""
    before = knobs()
    groups = """
[[programs]]
name = "left-alone"
names = ["prog*"]
min_size = "64 MiB"
policy = "none"
[[programs]]
name = "moved"
names = ["program"]
users = ["root"]
rate_limit_mb_s = 64
"""
    with Program(96, 0.25, 1) as kept, Daemon(tmp_path, groups, ["faults"]) as daemon:
        with Program(32, 0.25, 1) as moved:
            moved.arrives(run=daemon)
            facts = daemon.status()
            assert (kept.nodes() == 1).all()
            found = {each["name"]: each for each in facts["groups"]}
            assert found["left-alone"]["programs"] == found["moved"]["programs"] == 1
            assert found["moved"]["promoted_pages"] >= 0.95 * moved.hot().sum()
            assert found["left-alone"]["promoted_pages"] == 0
            assert [program["pid"] for program in facts["programs"]] == [moved.pid]
        daemon.until(lambda: daemon.status()["programs"] == [], "the end of its programs")
        code, _, err = daemon.finish()
    report("choosing", {"test": "groups", "groups": str(found)})
    assert code == 0, err
    assert knobs() == before


def test_memory_under_a_preferred_policy_gets_no_hint_faults_and_this_is_said(tmp_path: Path) -> None:
    command = (sys.executable, "-c", PREFERRED, str(SHARED / "program"))
    words = ["--source", "faults", "--journal", str(tmp_path / "j.pghot-journal"), "--json"]
    with Program(64, 0.25, 1, command=command) as program:
        with Pghot("run", "--apply", *words, "-p", str(program.pid)) as run:
            run.goes_on(2)
            code, out, err = run.finish()
        assert (program.nodes() == 1).all()
    facts = json.loads(out)
    assert code == 130, err
    assert facts["counters"]["pghot_unscanned_bytes"] >= 64 << 20
    assert facts["moves"]["promoted_pages"] <= 64, "its stack and heap, if any"
    report("choosing", {"test": "preferred", "unscanned": facts["counters"]["pghot_unscanned_bytes"]})


@pytest.mark.long
def test_promotion_ends_when_the_fast_node_is_as_full_as_wanted(tmp_path: Path) -> None:
    """All of 128 MiB is hot; what the goal leaves is some 32 MiB."""
    with Program(128, 1.0, 1, "write") as program:
        wanted = 1 - (free_mib(0) - 32 - 80) / size_mib(0)  # pghot itself takes some 80 MiB
        more = f'[mover]\ntarget = "fast-used={100 * wanted:.1f}%"\nrate_limit_mb_s = 32\n'
        with Daemon(tmp_path, f"pids = [{program.pid}]", ["softdirty"], more) as daemon:

            def goal() -> dict[str, float]:
                found: dict[str, float] = daemon.status()["moves"]["goal"]
                return found

            def reached() -> bool:
                facts.update(goal())
                return facts["rate_share"] == 0 and abs(facts["measured"] - wanted) <= 0.03

            facts: dict[str, float] = {}
            # Others take and give memory too: what falls back below the goal is promoted again.
            daemon.until(reached, "the goal")
            moved = daemon.status()["moves"]["promoted_pages"]
            share = program.on(0).hot
            code, _, err = daemon.finish()
    report("choosing", {"test": "goal", "goal": str(facts), "promoted_mib": moved / 256, "on_fast": share})
    assert 0 < moved < 0.9 * program.pages
    assert code == 0, err
