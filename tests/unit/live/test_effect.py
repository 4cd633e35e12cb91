"""What was seen in the first seconds beside the last."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.machine_trees import put
from pghot.kernel.sysroot import SysRoot
from pghot.live.effect import Effect


def pressure(root: Path, stalled_us: int, name: str = "proc/pressure/memory") -> None:
    put(root, name, f"some avg10=0.00 avg60=0.00 avg300=0.00 total={stalled_us}\nfull avg10=0.00 total=7\n")


def test_the_first_window_and_the_last_are_kept(tmp_path: Path) -> None:
    """31 of 100 accesses on the top tier at first, 9 of 10 at the end; a task waited for 0.1 s of 5, then for 0.5 s."""
    pressure(tmp_path, 1_000_000)
    effect = Effect(SysRoot(tmp_path), "", 0)
    effect.saw(True, 31, 69)
    pressure(tmp_path, 1_100_000)
    effect.tick(5000)
    assert effect.facts() is None, "nothing to compare with yet"
    effect.saw(True, 50, 50)
    effect.tick(10_000)
    effect.saw(True, 9, 1)
    effect.tick(14_999)
    pressure(tmp_path, 1_600_000)
    effect.tick(15_000)
    effect.saw(True, 0, 1000)
    facts = effect.facts()
    assert facts is not None
    assert facts["first"] == {
        "seconds": 5.0,
        "fast_share": 0.31,
        "below_per_s": 13.8,
        "pressure_percent": 2.0,
    }
    assert facts["last"] == {"seconds": 5.0, "fast_share": 0.9, "below_per_s": 0.2, "pressure_percent": 10.0}


def test_of_hint_faults_only_those_below_the_top_tier_tell(tmp_path: Path) -> None:
    """Those on the top tier come as long as the kernel marks it, and from memory that is freed and touched again."""
    effect = Effect(SysRoot(tmp_path), "", 0)
    effect.saw(False, 1000, 500)
    effect.tick(5000)
    effect.tick(10_000)
    facts = effect.facts()
    assert facts is not None
    assert facts["first"] == {
        "seconds": 5.0,
        "fast_share": None,
        "below_per_s": 100.0,
        "pressure_percent": None,
    }
    assert facts["last"]["below_per_s"] == 0.0, "nothing seen is an answer, too"


def test_a_source_that_takes_its_time_to_begin(tmp_path: Path) -> None:
    effect = Effect(SysRoot(tmp_path), "", 0)
    effect.tick(5000)
    for now_ms in (10_000, 15_000):
        effect.saw(True, 1, 1)
        effect.tick(now_ms)
    facts = effect.facts()
    assert facts is not None
    assert facts["first"]["fast_share"] == 0.5


@pytest.mark.parametrize("cgroup", ["/app.slice", "app.slice"])
def test_the_pressure_is_that_of_the_cgroup(tmp_path: Path, cgroup: str) -> None:
    name = "sys/fs/cgroup/app.slice/memory.pressure"
    pressure(tmp_path, 0)
    pressure(tmp_path, 0, name)
    effect = Effect(SysRoot(tmp_path), cgroup, 0)
    for now_ms in (5000, 10_000):
        effect.saw(True, 1, 0)
        pressure(tmp_path, now_ms * 500, name)
        effect.tick(now_ms)
    facts = effect.facts()
    assert facts is not None
    assert facts["last"]["pressure_percent"] == 50.0
