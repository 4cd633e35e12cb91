"""A whole cgroup tracked, and the kernel's own choice of what goes down when the fast node is full."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path

import pytest
from helpers import (
    GROUP,
    Daemon,
    Pghot,
    Program,
    add_row,
    free_mib,
    inside_the_group,
    kept_mib,
    knobs,
    pghot,
    report,
)

from waiting import until

pytestmark = pytest.mark.two_tiers


@pytest.mark.parametrize("demotion", ["reclaim", pytest.param("lru_gen", marks=pytest.mark.long)])
def test_the_kernel_picks_what_goes_down(demotion: str, tmp_path: Path) -> None:
    """The hot set moves while node 0 is nearly full: the old one must make room, and only in this cgroup."""
    before = knobs()
    with inside_the_group():
        program = Program(256, 0.25, 1, "write", "calm")
    with program, Program(32, 0.25, 0, "idle") as other:
        words = ["--source", "softdirty", "--cgroup", "/pghot-test", "--demotion", demotion, "--json"]
        with Pghot("run", "--apply", "--journal", str(tmp_path / "j.pghot-journal"), *words) as run:
            program.arrives(run=run)
            with Program(int(free_mib(0) - kept_mib() - 24), 0.25, 0, "idle"):
                program.signal(signal.SIGUSR1)
                program.arrives(0.8, run=run)
                where, old = program.on(0), program.set_on(0, -1)
                _, out, err = run.finish()
        assert (other.nodes() == 0).all(), "a program outside the cgroup was moved"
    moves = json.loads(out)["moves"]
    report(
        "moving", {"test": f"room by {demotion}", "coverage": where.hot, "old_left": old, "moves": str(moves)}
    )
    assert moves["demoted_pages"] > 0, err
    assert moves["lowest_free_above_floor_pages"] >= 0
    assert knobs() == before


def removed(group: Path) -> None:
    """Remove it, once what ended in it is gone."""

    def gone() -> bool:
        with contextlib.suppress(OSError):
            group.rmdir()
        return not group.exists()

    until(gone, "the end of the cgroup")


@pytest.mark.guest_table
def test_a_cgroup_that_is_made_again_is_followed_by_its_path(tmp_path: Path) -> None:
    """As when a service is restarted: its pages are promoted again, and all goes back at the end."""
    before = knobs()
    with inside_the_group():
        program = Program(64, 0.25, 1)
    with Daemon(tmp_path, 'cgroups = ["/pghot-test"]', ["faults"]) as daemon:
        with program:
            program.arrives(run=daemon)
        first = daemon.status()["sources"][0]["counters"]["pghot_sightings"]
        removed(GROUP)
        daemon.until(lambda: daemon.degraded("targets"), "the word that the cgroup is gone")
        with inside_the_group():
            program = Program(64, 0.25, 1)
        with program:
            seconds = program.arrives(run=daemon)
            facts, where = daemon.status(), program.on(0)
            seen = facts["sources"][0]["counters"]["pghot_sightings"]
            assert seen >= first + program.hot().sum(), "the counters of the path go on"
            assert daemon.degraded("targets") == []
            code, _, err = daemon.finish(signal.SIGTERM)
            assert (program.nodes() == 1).all()
    report("cgroups", {"test": "made again", "first": first, "all": seen})
    add_row("cgroup made again", where, seconds, facts)
    assert code == 0, err
    assert knobs() == before


def test_a_threaded_cgroup_is_refused(tmp_path: Path) -> None:
    group = Path("/sys/fs/cgroup/pghot-threads")
    group.mkdir()
    (group / "cgroup.type").write_text("threaded")
    with pytest.raises(OSError, match="not supported"):
        (group / "cgroup.procs").read_text()
    code, _, err = pghot("run", "--source", "softdirty", "--cgroup", "/pghot-threads")
    removed(group)
    assert code == 2
    assert "the cgroup /pghot-threads is threaded" in err
    assert "hint: name /" in err


def test_reclaim_is_refused_where_it_would_touch_others(tmp_path: Path) -> None:
    with Program(16, 1.0, 1) as program, Pghot(
        "run", "--apply", "-p", str(program.pid), "--source", "softdirty", "--demotion", "reclaim",
        "--journal", str(tmp_path / "j.pghot-journal"),
    ) as run:  # fmt: skip
        code, _, err = run.finish(0)
    assert code == 2
    assert "whole cgroups" in err
