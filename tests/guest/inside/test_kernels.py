"""An old kernel and the newest: what each offers is used, and what it lacks is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import Pghot, Program, pghot, report


def bring(source: str, words: tuple[str, ...], journal: Path) -> None:
    with Program(128, 0.25, 1, *words) as program:
        with Pghot(
            "run", "--apply", "--source", source, "-p", str(program.pid), "--journal", str(journal), "--json"
        ) as run:
            reached = program.arrives(run=run)
            code, _, err = run.finish()
        where = program.on(0)
    report(
        "kernels",
        {
            "kernel": os.uname().release,
            "source": source,
            "coverage": where.hot,
            "cold_share": where.cold,
            "reached_s": reached,
        },
    )
    assert code == 130, err
    assert where.cold <= 0.02


@pytest.mark.linux_6_1
def test_6_1_has_soft_dirty_bits(tmp_path: Path) -> None:
    bring("softdirty", ("write", "calm"), tmp_path / "j.pghot-journal")


@pytest.mark.linux_6_1
@pytest.mark.parametrize(
    "source, reason",
    [("damon", "CONFIG_DAMON"), ("faults", "top tier"), ("idle", "CONFIG_IDLE_PAGE_TRACKING")],
)
def test_6_1_lacks(source: str, reason: str) -> None:
    with Program(16, 1.0, 1) as program:
        code, _, err = pghot("run", "--source", source, "-p", str(program.pid))
    assert code == 3, err
    assert reason in err


@pytest.mark.linux_7_3
@pytest.mark.parametrize("source, words", [("faults", ()), ("softdirty", ("write", "calm"))])
def test_7_3_brings_the_hot_pages(source: str, words: tuple[str, ...], tmp_path: Path) -> None:
    bring(source, words, tmp_path / "j.pghot-journal")
