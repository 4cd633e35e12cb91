"""A node that really is slower: a program's own speed rises when pghot promotes its hot pages, and falls after undo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cxl import make_cxl_node
from helpers import SHARED, Pghot, Program, pghot, report, wait_until

pytestmark = pytest.mark.cxl


@pytest.fixture(scope="session")
def cxl_node() -> int:
    return make_cxl_node()


def test_promotion_makes_a_program_faster_and_undo_slower_again(cxl_node: int, tmp_path: Path) -> None:
    journal = tmp_path / "j.pghot-journal"
    with Program(128, 0.25, 0) as program:
        on_dram = program.passes_per_s(5)
    with Program(128, 0.25, cxl_node) as program:
        before = program.passes_per_s(5)
        # For the lab, outside: what the sources see, and how much slower the node was.
        latency_ns = 100 * on_dram / before
        code, out, err = pghot(
            "record", "--source", "faults", "-p", str(program.pid), "--duration", "15s", "--force",
            "--stall-share", "100%", "--latency", f"{latency_ns:.1f}", "-o", str(SHARED / "cxl.pghot"),
        )  # fmt: skip
        assert code == 0, err
        assert program.on(cxl_node).hot == 1
        with Pghot("run", "--apply", "-p", str(program.pid), "--journal", str(journal), "--json") as run:
            assert wait_until(lambda: program.on(0).hot >= 0.95, 90) is not None
            code, out, err = run.finish()
        assert code == 130, err
        promoted = program.passes_per_s(5)
        code, out, err = pghot("undo", str(journal), "--json")
        assert code == 0, out + err
        undone = program.passes_per_s(5)
    report(
        "cxl",
        {
            "passes_per_s_all_dram": on_dram,
            "passes_per_s_all_cxl": before,
            "passes_per_s_promoted": promoted,
            "passes_per_s_undone": undone,
            "pages_back": json.loads(out)["pages_back"],
        },
    )
    assert on_dram > 1.5 * before, "the CXL node is slower"
    assert promoted > 1.3 * before
    assert undone < 0.8 * promoted
