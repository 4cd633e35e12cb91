"""The curve of a recording: its miss ratios by plain counting, its times beside those of a comparison, and by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pghot
from builders.recordings import INFO, REPLAYED, random_trace
from pghot.cli.main import run
from pghot.errors import UsageError
from pghot.lab.capacity import size_nodes
from pghot.lab.curve import WAYS, Curve, Point, curve
from pghot.lab.similarity import Similarity
from pghot.lab.stack_distance import StackDistances
from pghot.lab.workloads.workload_files import make_workload
from pghot.recording.bundled import open_bundled
from pghot.recording.trace import Trace
from pghot.sim.machine.topology import load_topology
from references.lab.bounds import lru_misses_reference

PAGES = 9
requests = st.lists(st.integers(0, PAGES - 1), max_size=120).map(lambda pages: np.array(pages, np.uint32))


@given(st.lists(requests, max_size=4))
@settings(max_examples=150)
def test_a_cache_of_each_size_misses_what_lies_farther_down_the_stack(parts: list[np.ndarray]) -> None:
    """In parts, and through renumbering: there are 20 moments for up to 480 requests."""
    distances = StackDistances(PAGES)
    found = np.concatenate([np.empty(0, np.int64), *(distances.of(part) for part in parts)])
    whole = np.concatenate([np.empty(0, np.uint32), *parts])
    for capacity in range(1, PAGES + 2):
        missed = np.count_nonzero((found < 0) | (found >= capacity))
        assert missed == lru_misses_reference(whole, capacity)


def rows_of(trace: Trace) -> list[tuple[int, int]]:
    """Page and misses of every row, in order."""
    return [
        (page, misses)
        for batch in trace.batches()
        for page, misses in zip(batch.page.tolist(), batch.misses.tolist(), strict=True)
    ]


def by_counting(trace: Trace, fast_pages: int) -> dict[str, float]:
    """Share of the misses that `fast_pages` do not serve, in each of the ways."""
    rows = rows_of(trace)
    total = Counter[int]()
    for page, misses in rows:
        total[page] += misses
    everything = sum(total.values())
    first = list(dict.fromkeys(page for page, _ in rows))[:fast_pages]
    hottest = sorted(total, key=lambda page: (-total[page], page))[:fast_pages]
    asked = np.array([page for page, misses in rows if misses], np.uint32)
    again = lru_misses_reference(asked, fast_pages) - len(set(asked.tolist()))
    return {
        "first touch": 1 - sum(total[page] for page in first) / everything,
        "hottest": 1 - sum(total[page] for page in hottest) / everything,
        "recency": again / everything,
    }


@pytest.mark.parametrize("share", [0.03, 0.2, 0.71])
def test_misses_are_those_that_are_counted_one_by_one(share: float) -> None:
    trace, tiers = random_trace(parts=3, rows=200, most_instructions=REPLAYED), load_topology("dram-cxl")
    found = curve(trace, tiers, [share])
    footprint = len({page for page, _ in rows_of(trace)})
    pages = int(size_nodes(tiers, footprint, 4096 * found.similarity.group_pages, share)[0])
    pages -= int(np.ceil(pages * tiers.watermarks.min))
    for way, expected in by_counting(trace, pages).items():
        assert found.of(way)[0].slow_miss_share == pytest.approx(expected, abs=1e-12), way


def test_times_are_those_that_a_comparison_simulates() -> None:
    """One pass of each; the comparison cuts slices finer and places by cost, so that a few percent are between them."""
    recording, share = open_bundled("duckdb-mix"), 0.2
    found = curve(recording, "dram-cxl", [share])
    rows = pghot.compare(
        recording, policies=["none", "oracle-static"], fast_share=share, duration_s=None, seeds=1, warmup=0
    ).rows
    simulated = {row.policy: row.figures for row in rows}
    for way, policy in (("first touch", "none"), ("hottest", "oracle-static")):
        point, figures = found.of(way)[0], simulated[policy]
        assert point.slowdown == pytest.approx(figures.slowdown, rel=0.04), way
        assert 1 - point.slow_miss_share == pytest.approx(figures.fast_miss_share, abs=0.02), way


def test_more_fast_memory_is_never_slower_but_for_first_touch() -> None:
    trace = make_workload("zipf", footprint="64 MiB", slices=500)
    found = curve(trace, "dram-cxl-switched", [0.05, 0.3, 0.8])
    for way in ("hottest", "recency"):
        times = [found.slow_slowdown, *(point.slowdown for point in found.of(way)), 1.0]
        assert times == sorted(times, reverse=True), way
        assert times[0] > 1.5


def test_enough_is_read_off_the_line_between_two_sizes() -> None:
    """From 2.0 at nothing to 1.2 at 10 bytes, and on to 1.1 at 20; and a way that never gets below 1.5."""
    points = [
        Point("hottest", 0.1, 10.0, 0.5, 1.2), Point("hottest", 0.2, 20.0, 0.4, 1.1),
        Point("first touch", 0.1, 10.0, 0.9, 1.5), Point("first touch", 0.2, 20.0, 0.9, 1.5),
    ]  # fmt: skip
    similar = Similarity(1.0, 100.0, 1, 1, 0.0, 0, False)
    found = Curve("a", "b", similar, 1.0, 2.0, points, ())
    assert found.enough("hottest", 1.6) == pytest.approx(5.0)
    assert found.enough("hottest", 1.15) == pytest.approx(15.0)
    assert found.enough("hottest", 2.5) == 0.0
    assert found.enough("hottest", 1.05) is None
    assert found.enough("first touch", 1.4) is None


def test_what_it_cannot_say_is_refused() -> None:
    with pytest.raises(UsageError, match="depends on what is in it"):
        curve(random_trace(), "dram-cxl-compressed")
    with pytest.raises(UsageError, match="accesses from 2 nodes"):
        curve(random_trace(info=replace(INFO, nodes=2), nodes=2), "two-socket-cxl")
    with pytest.raises(UsageError, match="leaves nothing to decide"):
        curve(random_trace(), shares=[1.0])


def test_pictures_and_tables_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "csv": b'"way"', "parquet": b"PAR1"}
    outputs = [word for kind in starts for word in ("-o", str(tmp_path / f"a.{kind}"))]
    arguments = ["curve", "bundled:redis-zipf", "--fast-share", "10%,50%", "--json", *outputs]
    assert run(arguments) == 0
    assert '"schema": "pghot.curve/1"' in capsys.readouterr().out
    for kind, start in starts.items():
        assert (tmp_path / f"a.{kind}").read_bytes().startswith(start), kind
    before = (tmp_path / "a.svg").read_bytes()
    assert run([*arguments, "--force"]) == 0
    assert (tmp_path / "a.svg").read_bytes() == before, "the same picture is the same file"


def test_the_text_says_how_much_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["curve", "bundled:redis-zipf"]) == 0
    out = capsys.readouterr().out
    assert "PREDICTED" in out
    assert all(f"{way} " in out for way in WAYS)
    assert "for at most 1.05 x:" in out
