"""A node that really is slower: a program's own speed rises when pghot promotes its hot pages, and falls after undo."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cxl import make_cxl_node
from helpers import SHARED, Pghot, Program, beside, pghot, report

pytestmark = pytest.mark.one_node


@pytest.fixture(scope="session")
def cxl_node() -> int:
    return make_cxl_node()


def test_promotion_makes_a_program_faster_and_undo_slower_again(cxl_node: int, tmp_path: Path) -> None:
    """Speeds beside the same program all in DRAM."""
    journal = tmp_path / "j.pghot-journal"
    with Program(32, 0.25, 0, "busy") as yardstick, Program(32, 0.25, cxl_node, "busy") as program:
        for each in (program, yardstick):
            os.sched_setaffinity(each.pid, {1})
        before = beside(program, yardstick)
        # For the lab, outside: what the sources see, and how much slower the node was.
        with Pghot(
            "record", "--source", "faults", "-p", str(program.pid), "--force",
            "--stall-share", "100%", "--latency", f"{100 / before:.1f}", "-o", str(SHARED / "cxl.pghot"),
        ) as record:  # fmt: skip
            enough = program.hot().sum()
            record.until(lambda: record.sightings() >= enough, f"{enough} sightings")
            code, out, err = record.finish()
        assert code == 130, err
        assert program.on(cxl_node).hot == 1
        with Pghot("run", "--apply", "-p", str(program.pid), "--journal", str(journal), "--json") as run:
            program.arrives(run=run)
            code, out, err = run.finish()
        assert code == 130, err
        promoted = beside(program, yardstick)
        code, out, err = pghot("undo", str(journal), "--json")
        assert code == 0, out + err
        undone = beside(program, yardstick)
    speeds = {"speed_on_cxl": before, "speed_promoted": promoted, "speed_undone": undone}
    report("cxl", {**speeds, "pages_back": json.loads(out)["pages_back"]})
    assert 1.5 * before < 1, "the CXL node is slower"
    assert promoted > 1.3 * before
    assert undone < 0.8 * promoted
