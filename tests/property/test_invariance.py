"""The answer does not depend on how coarsely a real system was recorded, nor on how its time is cut into slices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pghot
from builders.replicated import replicated, zipf_heat
from builders.thinned import thinned
from pghot.lab.metrics import Figures
from pghot.lab.run_spec import RunSpec
from pghot.recording.bundled import open_bundled
from pghot.recording.caches import with_cache
from pghot.recording.trace import MemoryTrace, Trace

PAGES = 4096
LARGEST = 64.0  # K of the coarsest recording
RUNS: list[str | RunSpec] = [
    "demotion",
    "lru-bw",
    "oracle-static",
    RunSpec("numab2", ("hintfaults",)),
    RunSpec("pghot-default", ("hintfaults",), {"freq_threshold": 1}, where="to come"),
    RunSpec("pghot-precise", ("abit",), where="to come"),
    RunSpec("pghot-hashed", ("pebs",), where="to come"),
    RunSpec("pghot-precise", ("ibs",), where="to come"),
    RunSpec("pghot-default", ("chmu",), where="to come"),
]
# It moves some nine units of 2 MiB: with one seed its speed-ups are 1 % apart.
HEMEM = RunSpec("hemem", ("pebs",), where="to come")
HEMEM_SEEDS = 8


RECORDING = "redis-zipf"
THINNED_RUNS: list[str | RunSpec] = [
    "lru-bw",
    "oracle-static",
    RunSpec("numab2", ("hintfaults",)),
    RunSpec("pghot-precise", ("abit",), where="to come"),
]


def load(copies: int = 1, slices: int = 200, scatter: bool = True) -> MemoryTrace:
    """1 GiB with heat that falls as 1/rank."""
    return replicated(zipf_heat(PAGES, scatter=scatter), copies, slices=slices, misses=6000 * PAGES // slices)


def figures(trace: Trace, runs: list[str | RunSpec] = RUNS, **changes: Any) -> dict[str, Figures]:
    """The figures of each run: 16 threads, everything on CXL at first, 60 s."""
    setting: dict[str, Any] = {
        "times": LARGEST, "threads": 16, "duration_s": 60.0, "seeds": 1, "placement": "slow", "fast_share": 0.2,
    }  # fmt: skip
    found = pghot.compare(trace, policies=runs, **{**setting, **changes})
    return {row.label: row.figures for row in found.rows}


def agree(one: dict[str, Figures], other: dict[str, Figures], within: float) -> None:
    """The speed-ups are equal but for this share."""
    gains = {label: (one[label].speedup, other[label].speedup) for label in one}
    far = {label: pair for label, pair in gains.items() if pair[0] != pytest.approx(pair[1], rel=within)}
    assert not far


@pytest.fixture(scope="module")
def coarse() -> dict[str, Figures]:
    return figures(load())


def test_the_same_system_at_another_k_gains_the_same(coarse: dict[str, Figures]) -> None:
    """A quarter of K: four times the pages, the same real system. Every source and most policies."""
    fine = figures(load(copies=4), times=LARGEST / 4)
    agree(coarse, fine, within=0.02)
    for label, run in coarse.items():
        assert fine[label].moved_mb == pytest.approx(run.moved_mb, rel=0.05, abs=10), label  # 1 % of 1 GiB
    assert fine["none"].time_s == pytest.approx(coarse["none"].time_s, rel=0.01)


@pytest.fixture(scope="module")
def whole() -> dict[str, Figures]:
    """Thinned too, by nothing: with the same one cache and the same parallelism for all pages."""
    return figures(thinned(open_bundled(RECORDING), 1), THINNED_RUNS, times=64.0, duration_s=20.0)


@pytest.mark.parametrize("slice_ms", [25.0, 100.0])
def test_the_longest_slice_matters_little(coarse: dict[str, Figures], slice_ms: float) -> None:
    agree(coarse, figures(load(), slice_ms=slice_ms), within=0.05)


@pytest.mark.parametrize("slices", [25, 3200])
def test_slices_as_they_were_recorded_do_not_matter(coarse: dict[str, Figures], slices: int) -> None:
    """8 times coarser and 16 times finer: the load is stationary, so cutting makes no phases."""
    agree(coarse, figures(load(slices=slices)), within=0.03)


@pytest.fixture(scope="module")
def units() -> Figures:
    return figures(load(), [HEMEM], seeds=HEMEM_SEEDS)[HEMEM.label]


@pytest.mark.parametrize(
    ("load_", "played"),
    [
        ({"copies": 4}, {"times": LARGEST / 4}),
        ({"slices": 25}, {}),
        ({"slices": 3200}, {}),
        ({}, {"slice_ms": 10.0}),
        ({}, {"slice_ms": 100.0}),
    ],
    ids=str,
)
def test_units_of_2_mib_are_found_and_moved_alike(
    units: Figures, load_: dict[str, int], played: dict[str, float]
) -> None:
    """At another K, in slices recorded coarser and finer, and played in shorter and longer ones."""
    found = figures(load(**load_), [HEMEM], seeds=HEMEM_SEEDS, **played)[HEMEM.label]
    assert found.speedup == pytest.approx(units.speedup, rel=0.02)
    assert found.moved_mb == pytest.approx(units.moved_mb, rel=0.15)


def test_a_walk_of_the_page_tables_costs_what_the_footprint_says() -> None:
    """25 ns for each of F / 4096 pages every 2 s, at any K: 6.6 ms of 1 GiB."""
    spec = RunSpec("pghot-precise", ("abit",), {"rate_limit_mb_s": 0.0}, where="to come")
    for copies in (1, 4):
        run = figures(load(copies), [spec, "none"], times=LARGEST / copies)[spec.label]
        walks = int(run.time_s / 2.0)
        walked_s = walks * (1 << 30) / 4096 * 25e-9
        assert run.kernel_share * run.time_s == pytest.approx(walked_s, rel=0.02)


def test_where_the_hot_pages_are_matters_to_those_who_move_2_mib_only() -> None:
    """K = 64, eight pages to 2 MiB: hot pages side by side or scattered; pghot takes the hottest, page by page."""
    hemem, pghot_ = RunSpec("hemem", ("pebs",)), RunSpec("pghot-hashed", ("pebs",), where="to come")
    side_by_side, scattered = (figures(load(scatter=s), [hemem, pghot_]) for s in (False, True))
    by_page = [each[pghot_.label].speedup or 0.0 for each in (side_by_side, scattered)]
    by_unit = [each[hemem.label].speedup or 0.0 for each in (side_by_side, scattered)]
    assert by_page[1] == pytest.approx(by_page[0], rel=0.03)
    assert by_unit[0] > by_unit[1] * 1.05
    assert np.isfinite(by_unit).all()


def test_a_page_for_each_real_one_gains_the_same() -> None:
    """K = 1 against 16: 32 MiB, in which HeMem would have 16 units of 2 MiB to choose from."""
    found = {
        copies: figures(
            replicated(zipf_heat(512), copies, slices=200, misses=6000 * 512 // 200),
            RUNS,
            times=16.0 / copies,
            duration_s=10.0,
        )
        for copies in (1, 16)
    }
    agree(found[1], found[16], within=0.02)
    for label, run in found[1].items():
        assert found[16][label].moved_mb == pytest.approx(run.moved_mb, rel=0.05, abs=0.01 * 32), label


@pytest.mark.parametrize("one_in", [2, 4])
def test_every_second_page_of_a_recording_stands_for_twice_as_many(
    one_in: int, whole: dict[str, Figures]
) -> None:
    """Pages in order of heat, and instructions by the misses that stay: the rest at 2K, or 4K, is the same system."""
    thin = figures(
        thinned(open_bundled(RECORDING), one_in), THINNED_RUNS, times=64.0 * one_in, duration_s=20.0
    )
    agree(whole, thin, within=0.03)
    assert max(run.speedup or 0.0 for run in whole.values()) > 1.05, "something is gained"


@pytest.mark.parametrize("rule", ["writable", "ro-cow", "promote-on-write", "contained"])
def test_a_tier_that_compresses_saves_and_costs_the_same_at_another_k(rule: str) -> None:
    """Contents that take a quarter, and a half once they are rewritten: sizes, faults and gains at K = 64 and 16."""
    chmu = RunSpec("pghot-default", ("chmu",), where="to come")
    found = {}
    for copies in (1, 4):
        trace = replicated(zipf_heat(1024), copies, slices=200, misses=6000 * 1024 // 200)
        trace = replace(trace, info=replace(trace.info, stored_bytes=(1024, 2048)))
        found[copies] = figures(
            trace,
            [chmu],
            tiers="dram-cxl-compressed",
            access=[rule],
            times=LARGEST / copies,
            placement="first-touch",
            duration_s=20.0,
        )
    agree(found[1], found[4], within=0.02)
    for label, run in found[1].items():
        fine = found[4][label]
        assert fine.saved_share == pytest.approx(run.saved_share, abs=0.01), label
        assert fine.device_peak_share == pytest.approx(run.device_peak_share, rel=0.02), label
        assert fine.write_faults == pytest.approx(run.write_faults, rel=0.05, abs=1000), label
        assert fine.moved_mb == pytest.approx(run.moved_mb, rel=0.05, abs=2.6), label  # 1 % of 256 MiB


@pytest.mark.parametrize("policy", ["none", "demotion"])
def test_the_longest_slice_matters_little_where_the_program_reclaims(policy: str) -> None:
    """It fills memory that holds a fifth of it, and copies what is old to a device that compresses over a full link."""
    trace = open_bundled("xz-decompress")
    trace = with_cache(trace, trace.info.cache_bytes[-1])
    times = []
    for slice_ms in (5.0, 50.0, 200.0):
        found = pghot.compare(
            trace,
            "dram-cxl-compressed",
            [policy],
            fast_share=0.2,
            duration_s=None,
            seeds=1,
            slice_ms=slice_ms,
        )
        (run,) = [row.figures for row in found.rows if row.label == policy]
        assert (run.moving_app_share or 0.0) > 0.1, "and pays for it"
        times.append(run.time_s)
    assert times == pytest.approx([times[0]] * 3, rel=0.05)
