"""How long is waited for pages that the kernel had marked."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from builders.machine_trees import put
from pghot.kernel.sysroot import SysRoot
from pghot.live import marked_pages
from pghot.live.marked_pages import MOST_LOOKS, wait_until_touched


@pytest.mark.parametrize(
    ("faults", "looks"),
    [([10, 10], 1), ([10, 500, 700, 700, 900], 3), (list(range(100)), MOST_LOOKS)],
)
def test_it_ends_when_no_faults_come_any_more_or_after_two_seconds(
    faults: list[int], looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    counts = itertools.chain(faults)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        put(tmp_path, "proc/vmstat", f"numa_hint_faults {next(counts)}\n")

    put(tmp_path, "proc/vmstat", f"numa_hint_faults {next(counts)}\n")
    monkeypatch.setattr(marked_pages.time, "sleep", sleep)
    wait_until_touched(SysRoot(tmp_path))
    assert slept == [0.1] * looks
