"""Samples of pages: which are chosen and with what weight, by hand; what they keep of the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.replicated import replicated, zipf_heat
from pghot.errors import UsageError
from pghot.lab.compare import compare
from pghot.lab.page_sample import LEAST_PAGES, MOST_SHARE, choose, draw_samples
from pghot.lab.run_spec import RunSpec
from pghot.lab.setting import Setting
from pghot.recording.reader import open_recording
from pghot.recording.trace import MemoryTrace, Trace
from pghot.recording.writer import write_recording
from pghot.report.comparison_text import render

PAGES = 10 * LEAST_PAGES
COLUMNS = ("touches", "misses", "writes")
QUICK: dict[str, Any] = {"policies": ["lru-bw"], "seeds": 2, "duration_s": 2.0, "times": 16.0}


@pytest.fixture(scope="module")
def trace() -> MemoryTrace:
    """The hottest page takes a ninth of all misses, the hottest tenth three quarters."""
    return replicated(zipf_heat(PAGES), 1, slices=40, misses=20 * PAGES)


def totals(trace: Trace) -> dict[str, int]:
    found = dict.fromkeys((*COLUMNS, "instructions"), 0)
    for batch in trace.batches():
        for name in found:
            found[name] += int(getattr(batch, name).sum(dtype=np.int64))
    return found


def test_a_stratum_gives_a_page_that_misses_as_often_as_its_mean() -> None:
    """In order of heat: pages 2 and 0 (8 and 4: mean 6), pages 3 and 5 (2 and 2). Page 1 is not touched, 4 is cold."""
    heat = np.array([4, 0, 8, 2, 0, 2, 0])
    touched = np.array([1, 0, 1, 1, 1, 1, 1], np.bool_)
    seen = set()
    for seed in range(40):
        found = choose(heat, touched, 3, np.random.default_rng(seed))
        chosen = np.flatnonzero(found.number >= 0)
        assert found.number[chosen].tolist() == [0, 1, 2]
        for page, weight in zip(chosen.tolist(), found.weight.tolist(), strict=True):
            assert weight == {2: 6 / 8, 0: 6 / 4, 3: 1, 5: 1, 4: 1, 6: 1}[page]
        assert found.stands[2] == found.stands[0] == found.number[[0, 2]].max()
        seen.update(chosen.tolist())
    assert seen == {0, 2, 3, 4, 5, 6}


def test_the_chance_of_a_page_is_its_part_of_the_heat() -> None:
    """8 of 12 misses: chosen two times of three, so that each column comes out right in the mean."""
    heat, touched = np.array([4, 8]), np.ones(2, np.bool_)
    drawn = [choose(heat, touched, 1, np.random.default_rng(seed)).number[1] == 0 for seed in range(1200)]
    assert np.mean(drawn) == pytest.approx(2 / 3, abs=0.05)  # 3.7 standard deviations


def test_a_sample_keeps_a_tenth_of_everything(trace: MemoryTrace) -> None:
    whole = totals(trace)
    for sample in draw_samples(trace, 0.1, range(3)):
        assert (sample.pages, sample.whole_pages, sample.one_in) == (LEAST_PAGES, PAGES, 10.0)
        kept = totals(sample)
        assert kept["misses"] == pytest.approx(whole["misses"] / 10, abs=LEAST_PAGES)  # roundings
        assert kept["instructions"] == pytest.approx(whole["instructions"] / 10, abs=1)
        assert kept["writes"] == pytest.approx(whole["writes"] / 10, rel=0.02)


def test_each_seed_draws_its_own_pages_and_always_the_same(trace: MemoryTrace) -> None:
    one, other = draw_samples(trace, 0.1, [5, 6])
    (again,) = draw_samples(trace, 0.1, [5])
    assert totals(one) == totals(again) != totals(other)


def test_what_is_too_few_is_said_with_what_would_do(trace: MemoryTrace) -> None:
    with pytest.raises(UsageError, match="1 % of the 5,000 pages of 'copies-1' are 50: too few") as found:
        draw_samples(trace, 0.01, [0])
    assert found.value.hint == "give --sample 10% or more, or leave it out"


@pytest.mark.parametrize(
    ("wrong", "said"), [({"sample": 1.0}, "sample"), ({"sample": 0.1, "seeds": 1}, "seeds 2")]
)
def test_a_share_of_all_and_a_single_seed_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as found:
        Setting(**wrong)
    assert said in f"{found.value} {found.value.hint}"


def test_the_real_system_is_the_same_and_the_sample_is_said(trace: MemoryTrace, tmp_path: Path) -> None:
    write_recording(tmp_path / "a.pghot", trace)
    whole = compare(open_recording(tmp_path / "a.pghot"), **QUICK)
    part = compare(tmp_path / "a.pghot", **QUICK, sample=0.1)
    assert part.setup.similarity.footprint_bytes == pytest.approx(whole.setup.similarity.footprint_bytes)
    assert part.setup.similarity.group_pages == pytest.approx(160)
    a_pass, of_all = (each.setup.misses / each.setup.timing.passes for each in (part, whole))
    assert a_pass == pytest.approx(of_all, rel=0.02)
    assert part.to_dict()["setup"]["sample"] == {"pages": 500, "whole_pages": 5000}
    assert "sample" not in whole.to_dict()["setup"]
    said = render(part, [])
    assert "a sample of 10 % of the pages, by heat: 500 of 5,000" in said.replace("\n  ", " ")
    assert "16 pages for each recorded one" in said.replace("\n  ", " ")
    own = {row.label: row.ci95["speedup"] for row in part.rows}
    assert own["none"] == 0, "its own yardstick"
    # 3 % of the mean beside the interval of the seeds.
    (row,) = [row for row in part.rows if row.label == "all-fast"]
    one, other = (run["speedup"] for run in part.runs.to_pylist() if run["label"] == "all-fast")
    assert row.ci95["speedup"] == pytest.approx(12.706 * abs(one - other) / 2 + 0.03 * (one + other) / 2)


def test_who_moves_larger_units_than_a_page_stood_for_is_named(trace: MemoryTrace) -> None:
    """2 MiB are 32 neighbours at 16x. At 512x a page stands for a unit by itself, sampled or not."""
    runs = [RunSpec("hemem", ("pebs",)), RunSpec("lru-bw")]
    setting = {**QUICK, "policies": runs, "sample": 0.1}
    (told,) = [text for text in compare(trace, **setting).setup.warnings if "neighbours" in text]
    assert told.startswith("a sample has no neighbours: hemem move")
    found = compare(trace, **{**setting, "times": 512.0})
    assert not [text for text in found.setup.warnings if "neighbours" in text]


def test_a_page_that_has_too_much_of_the_misses_is_said(trace: MemoryTrace) -> None:
    """Of two pages a stratum, the hottest has 8 + 4 of 18 misses. In the zipf trace it has ten pages of 5,000."""
    heat = np.array([4, 0, 8, 2, 2, 2])
    found = choose(heat, np.ones(6, np.bool_), 3, np.random.default_rng(0))
    assert found.top_share == pytest.approx(12 / 18)
    misses = np.zeros(trace.pages)
    for batch in trace.batches():
        np.add.at(misses, batch.page, batch.misses)
    hottest = round(100 * float(np.sort(misses)[-10:].sum() / misses.sum()), 1)
    (told,) = [text for text in compare(trace, **QUICK, sample=0.1).setup.warnings if "single page" in text]
    assert told.startswith(
        f"a single page of the sample has {hottest:.2g} % of the misses: those of the hottest 10 pages."
    )


@pytest.mark.parametrize(("share", "said"), [(MOST_SHARE, False), (MOST_SHARE + 1e-6, True)])
def test_an_even_sample_is_no_reason_to_warn(share: float, said: bool, trace: MemoryTrace) -> None:
    (sample,) = draw_samples(trace, 0.1, [0])
    assert bool(replace(sample, top_share=share).warning()) == said


def test_the_interval_of_a_sample_holds_the_whole(trace: MemoryTrace) -> None:
    """Of six samples, of another pair of seeds each."""
    how: dict[str, Any] = {**QUICK, "policies": ["oracle-static", "lru-bw"], "duration_s": 5.0}
    whole = {row.label: row.figures.slowdown for row in compare(trace, **how).rows}
    for first in range(0, 12, 2):
        for row in compare(trace, **how, sample=0.1, first_seed=first).rows:
            assert abs(row.figures.slowdown - whole[row.label]) <= row.ci95["slowdown"], row.label
