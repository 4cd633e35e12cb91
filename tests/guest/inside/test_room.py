"""A fast node that is full of hot pages, under a source that sees none of them: who goes down when more come?"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    BALANCING,
    Pghot,
    Program,
    Where,
    add_row,
    free_mib,
    inside_the_group,
    kept_mib,
    knobs,
    report,
)

from pghot.kernel.knob_files import DEMOTION_ENABLED, SCAN
from pghot.kernel.move_pages import move_pages, query_nodes

pytestmark = pytest.mark.two_tiers
FULL = "fast node full of hot"


class Split:
    """A program with 32 MiB of hot pages and 96 MiB of cold ones on each node, of which node 0 is full."""

    def __init__(self, program: Program) -> None:
        self.program = program
        half = program.pages // 2
        move_pages(program.pid, program.address[:half], np.zeros(half, np.int32))
        assert (program.nodes()[:half] == 0).all()
        self.hot_on_top = program.address[:half][program.hot()[:half]]

    def stays(self) -> float:
        """Share of the hot pages that were on node 0 at first and are there now."""
        return float((query_nodes(self.program.pid, self.hot_on_top) == 0).mean())

    def where(self) -> Where:
        """What is on node 0 now: of all hot pages, and of the cold ones that were not there at first."""
        there, hot = self.program.nodes() == 0, self.program.hot()
        below = np.arange(self.program.pages) >= self.program.pages // 2
        return Where(float(there[hot].mean()), float(there[~hot & below].mean()))


@contextmanager
def split(own_cgroup: bool = False) -> Iterator[Split]:
    """The program flushes the TLB before each pass: else the emulator's CPU leaves accessed bits as they are."""
    with inside_the_group() if own_cgroup else nullcontext():
        program = Program(256, 0.25, 1, "flush")
    with program:
        full = Split(program)
        with Program(int(free_mib(0) - kept_mib() - 8), 0.25, 0, "idle") as other:
            program.goes_on()
            yield full
            assert (other.nodes() == 0).all() or not own_cgroup, "a program outside the cgroup was moved"


def applied(program: Program, place: Path) -> Pghot:
    return Pghot(
        "run", "--apply", "-p", str(program.pid), "--journal", str(place / "j.pghot-journal"), "--json"
    )


@pytest.mark.guest_table
@pytest.mark.long
def test_hot_pages_stay_when_the_program_has_a_cgroup_of_its_own(tmp_path: Path) -> None:
    """pghot finds that out by itself. Of what is on the full node, cold pages go down; then another set is hot."""
    before, least = knobs(), [1.0]
    with split(own_cgroup=True) as full, applied(full.program, tmp_path) as run:
        program = full.program

        def arrived() -> bool:
            least.append(full.stays())
            return program.set_on(0) >= 0.95

        seconds = run.until(arrived, "95% of the hot pages on node 0")
        for _ in range(3):
            run.goes_on(1)
            arrived()
        where = full.where()
        program.signal(signal.SIGUSR1)
        seconds_again = program.arrives(run=run)
        code, out, err = run.finish()
    facts = json.loads(out)
    row = {"test": "full of hot, own cgroup", "least_hot_kept": min(least), "seconds_again": seconds_again}
    report("moving", {**row, "moves": str(facts["moves"])})
    add_row(FULL, where, seconds, facts)
    assert code == 130, err
    assert where.hot >= 0.95
    assert min(least) >= 0.95
    assert facts["moves"]["demoted_pages"] >= 0.8 * len(full.hot_on_top)
    assert facts["counters"]["pghot_demotion_withheld"] == 0
    assert facts["moves"]["lowest_free_above_floor_pages"] >= 0
    assert "systemd-run --scope" not in err  # it may lack old pages for a while, and never a cgroup
    assert knobs() == before


@pytest.mark.long
def test_nothing_goes_down_and_pghot_says_why_in_a_cgroup_of_several(tmp_path: Path) -> None:
    """A shell and what it started are one cgroup here: the root."""
    with split() as full, applied(full.program, tmp_path) as run:
        run.until(lambda: "note: degraded: demotion: " in run.said(), "the word that nothing goes down")
        run.goes_on(2)
        stayed = float((full.program.nodes()[: full.program.pages // 2] == 0).mean())
        _, out, err = run.finish()
    facts = json.loads(out)
    report("moving", {"test": "full of hot, shared cgroup", "kept": stayed})
    assert stayed == 1
    assert facts["moves"]["demoted_pages"] == 0
    assert facts["counters"]["pghot_demotion_withheld"] > 0
    assert "systemd-run --scope" in err


@pytest.mark.guest_table
def test_the_kernels_own_mode_beside_them() -> None:
    """Its kswapd picks among everything on the node. It is reported, not judged."""
    knob = {BALANCING: "2", Path(SCAN) / "scan_period_min_ms": "200", Path(DEMOTION_ENABLED): "1"}
    with split() as full:
        for path, value in knob.items():
            path.write_text(value)
        began = time.monotonic()
        for _ in range(60):
            full.program.goes_on()
            if full.program.set_on(0) >= 0.95:
                break
        where, kept, seconds = full.where(), full.stays(), time.monotonic() - began
    row = {"coverage": where.hot, "cold_share": where.cold, "seconds": seconds}
    report("ordinary programs", {"program": FULL, "by": "kernel mode 2", **row, "hot_kept": kept})
