"""Three tiers, the fastest a node without CPUs: pages end on the right one."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import Pghot, Program, report

from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.nodes import read_nodes

pytestmark = pytest.mark.three_tiers


def test_the_tiers_are_those_of_the_kernels_example() -> None:
    nodes = read_nodes(SysRoot())
    assert nodes.rank == (1, 0, 2)
    assert nodes.top_nodes == (1,)
    assert nodes.demotion_targets[1] == (0, 2)
    assert nodes.demotion_targets[0] == (2,)


@pytest.mark.parametrize("start", [2, 0])
def test_hot_pages_go_to_the_top(start: int, tmp_path: Path) -> None:
    """From the bottom tier and from the middle one, with a source that sees every tier."""
    with Program(128, 0.25, start, "write", "calm") as program:
        with Pghot(
            "run", "--apply", "--source", "softdirty", "-p", str(program.pid), "--json",
            "--journal", str(tmp_path / "j.pghot-journal"),
        ) as run:  # fmt: skip
            program.arrives(node=1, run=run)
            code, _, err = run.finish()
        top, stayed = program.on(1), program.on(start)
    report(
        "tiers", {"from": start, "hot_on_top": top.hot, "cold_on_top": top.cold, "cold_stayed": stayed.cold}
    )
    assert code == 130, err
    assert top.cold <= 0.02
    assert stayed.cold >= 0.98
