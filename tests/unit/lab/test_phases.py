"""`--phases`: with more data the phases of a program last longer, or as long as they were recorded."""

from __future__ import annotations

import numpy as np
import pytest

import pghot
from builders.accesses import trace_from_accesses
from pghot.errors import UsageError
from pghot.lab.phases import hold_phases
from pghot.lab.setting import Setting
from pghot.recording.trace import MemoryTrace, Trace


def two_phases() -> MemoryTrace:
    """10 slices that touch pages 0 to 99, then 10 that touch 100 to 199; 20 times each."""
    page = np.repeat(np.arange(200, dtype=np.uint32).reshape(2, 100), 10, axis=0)
    return trace_from_accesses(np.repeat(page.ravel(), 20), accesses_per_slice=2_000)


def misses(trace: Trace, first: int, last: int) -> np.ndarray:
    """The misses of each page in these slices."""
    found = np.zeros(trace.pages, np.int64)
    position = 0
    for batch in trace.batches():
        for index in range(batch.slices):
            rows = slice(batch.offsets[index], batch.offsets[index + 1])
            if first <= position < last:
                np.add.at(found, batch.page[rows], batch.misses[rows].astype(np.int64))
            position += 1
    return found


def test_a_pass_plays_a_part_of_every_slice_and_all_passes_what_was_recorded() -> None:
    whole, parts = two_phases(), hold_phases(two_phases(), 4, seed=0)
    np.testing.assert_array_equal(misses(parts, 0, 80), misses(whole, 0, 20))
    for number in range(4):
        phase = misses(parts, 20 * number, 20 * number + 10)
        assert not phase[100:].any(), "each pass has both phases, one after the other"
        assert phase[:100].sum() == pytest.approx(misses(whole, 0, 10)[:100].sum() / 4, rel=0.05)


def test_what_takes_longer_is_held_to_the_time_that_was_recorded() -> None:
    """One thread and K = 64: a pass takes 64 times what it takes at K = 1."""
    settings = {"threads": 1, "seeds": 1, "duration_s": None, "policies": ["demotion"]}
    alone, stretched, kept = (
        pghot.compare(two_phases(), times=times, phases=phases, **settings).setup
        for times, phases in ((1.0, "stretch"), (64.0, "stretch"), (64.0, "hold"))
    )
    assert stretched.timing.pass_s == pytest.approx(64 * alone.timing.pass_s, rel=0.02)
    recorded_s = alone.slices * alone.slice_ns / 1e9
    parts = round(stretched.timing.pass_s / recorded_s)
    assert parts > 1
    assert kept.timing.pass_s == pytest.approx(stretched.timing.pass_s / parts, rel=0.05)
    assert kept.timing.passes == pytest.approx(parts)
    assert kept.misses == stretched.misses


def test_another_word_is_refused() -> None:
    with pytest.raises(UsageError, match="phases"):
        Setting(phases="shrink")
