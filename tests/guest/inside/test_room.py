"""A fast node that is full of hot pages, under a source that sees none of them: who goes down when more come?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    BALANCING,
    Pghot,
    Program,
    free_mib,
    inside_the_group,
    kept_mib,
    knobs,
    report,
)

from pghot.kernel.knob_files import DEMOTION_ENABLED, SCAN
from pghot.kernel.move_pages import move_pages, query_nodes

pytestmark = pytest.mark.two_tiers


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


@contextmanager
def split() -> Iterator[Split]:
    """The program has flushed the TLB before each pass: else the emulator's CPU leaves accessed bits as they are."""
    with Program(256, 0.25, 1, "flush") as program:
        full = Split(program)
        with Program(int(free_mib(0) - kept_mib() - 8), 0.25, 0, "idle"):
            program.goes_on()
            yield full


def test_hot_pages_stay_when_the_program_has_a_cgroup_of_its_own(tmp_path: Path) -> None:
    """pghot finds that out by itself. Of what is on the full node, cold pages go down."""
    before = knobs()
    with inside_the_group():
        program = Program(256, 0.25, 1, "flush")
    with program:
        full = Split(program)
        with Program(int(free_mib(0) - kept_mib() - 8), 0.25, 0, "idle") as other:
            least = [1.0]
            words = ["-p", str(program.pid), "--journal", str(tmp_path / "j.pghot-journal"), "--json"]
            with Pghot("run", "--apply", *words) as run:

                def arrived() -> bool:
                    least.append(full.stays())
                    return program.set_on(0) >= 0.95

                seconds = run.until(arrived, "95% of the hot pages on node 0")
                run.goes_on(3)
                least.append(full.stays())
                where = program.on(0)
                code, out, err = run.finish()
            assert (other.nodes() == 0).all(), "a program outside the cgroup was moved"
    facts = json.loads(out)
    row = {
        "test": "full of hot, own cgroup",
        "coverage": where.hot,
        "cold_share": where.cold,
        "seconds": seconds,
    }
    row |= {"least_hot_kept": min(least), "moves": str(facts["moves"]), "counters": str(facts["counters"])}
    report("moving", row)
    assert code == 130, err
    assert where.hot >= 0.95
    assert min(least) >= 0.95
    assert facts["moves"]["demoted_pages"] >= program.hot().sum() / 2 * 0.8
    assert facts["counters"]["pghot_demotion_withheld"] == 0
    assert facts["moves"]["lowest_free_above_floor_pages"] >= 0
    assert knobs() == before


def test_nothing_goes_down_and_pghot_says_why_in_a_cgroup_of_several(tmp_path: Path) -> None:
    with split() as full:
        words = ["-p", str(full.program.pid), "--journal", str(tmp_path / "j.pghot-journal"), "--json"]
        with Pghot("run", "--apply", *words) as run:
            run.until(lambda: "note: degraded: demotion: " in run.said(), "the word that nothing goes down")
            run.goes_on(2)
            stayed = full.stays()
            _, out, err = run.finish()
    facts = json.loads(out)
    report("moving", {"test": "full of hot, shared cgroup", "hot_kept": stayed, "said": err[-600:]})
    assert stayed == 1
    assert facts["moves"]["demoted_pages"] == 0
    assert facts["counters"]["pghot_demotion_withheld"] > 0
    assert "systemd-run --scope" in err


def test_the_kernels_own_mode_beside_them() -> None:
    """Its kswapd picks among everything on the node. It is reported, not judged."""
    knob = {BALANCING: "2", Path(f"{SCAN}/scan_period_min_ms"): "200", Path(DEMOTION_ENABLED): "1"}
    with split() as full:
        for path, value in knob.items():
            path.write_text(value)
        for _ in range(60):
            full.program.goes_on()
            if full.program.set_on(0) >= 0.95:
                break
        where = full.program.on(0)
    row = {"test": "full of hot, kernel mode 2", "coverage": where.hot, "cold_share": where.cold}
    report("moving", {**row, "hot_kept": full.stays() if full.program.process.poll() is None else None})
