"""A whole cgroup tracked, and the kernel's own choice of what goes down when the fast node is full."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import Pghot, Program, free_mib, kept_mib, knobs, report

pytestmark = pytest.mark.two_tiers
GROUP = Path("/sys/fs/cgroup/pghot-test")


@contextlib.contextmanager
def inside_the_group() -> Iterator[None]:
    """What is started here is born in the group, so that its memory is charged to it."""
    Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+memory")
    GROUP.mkdir(exist_ok=True)
    (GROUP / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        Path("/sys/fs/cgroup/cgroup.procs").write_text(str(os.getpid()))


@pytest.mark.parametrize("demotion", ["reclaim", "lru_gen"])
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


def test_reclaim_is_refused_where_it_would_touch_others(tmp_path: Path) -> None:
    with Program(16, 1.0, 1) as program, Pghot(
        "run", "--apply", "-p", str(program.pid), "--source", "softdirty", "--demotion", "reclaim",
        "--journal", str(tmp_path / "j.pghot-journal"),
    ) as run:  # fmt: skip
        code, _, err = run.finish(0)
    assert code == 2
    assert "whole cgroups" in err
