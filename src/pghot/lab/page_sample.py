"""A share of a trace's pages, chosen by heat: the same real system, recorded more coarsely (docs/model.md, "Samples").

Pages in order of heat are parted into strata of equally many. Each gives one page, chosen with a chance in proportion
to its heat, whose counts are weighted so that it misses as often as the mean page of its stratum. So the hottest pages
are neither missing nor counted a hundredfold, and every column adds up to the whole's, divided by the pages that one
stands for: misses exactly, the others in expectation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pghot.arrays import F64, I32, I64, U32, Bool
from pghot.errors import UsageError
from pghot.lab.sampled_rows import RowWeigher, add_heat
from pghot.recording.compressibility import Compressibility, compressibility_of, renumbered
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, Trace, cut_rows_of
from pghot.units import counted, format_number

LEAST_PAGES = 500  # of a sample: fewer are too coarse a picture of heat (est.)
MOST_SHARE = (
    0.03  # of the misses, for a single page: as much as intervals add for what samples have in common
)


@dataclass(slots=True)
class SampledTrace(MemoryTrace):
    """The sample of a trace, held in memory.

    whole_pages  pages that the whole touches
    one_in       of so many of them, one is in the sample
    cut_rows     of the whole, see `recording.trace.AddsUpRows`
    top_share    of all misses, those of the hottest stratum, which are a single page's here
    """

    whole_pages: int = 0
    one_in: float = 1.0
    cut_rows: int = 0
    top_share: float = 0.0

    def warning(self) -> str:
        """That one page decides too much; empty where it does not."""
        if self.top_share <= MOST_SHARE:
            return ""
        percent, each = format_number(100 * self.top_share, 2), counted(round(self.one_in), "page")
        return (
            f"a single page of the sample has {percent} % of the misses: those of the hottest {each}. They are fast or "
            "slow as a whole, by the chance of a draw, which the intervals of few seeds do not cover; "
            "take a larger --sample"
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The pages of a sample.

    number  int32[pages]     the page's place in the sample, in the order of pages; -1: it is not in it
    weight  float64[sample]  what its counts are multiplied by
    stands  uint32[pages]    the place in the sample of the page that stands for this one; 0 for an untouched one
    top_share                see `SampledTrace`
    """

    number: I32
    weight: F64
    stands: U32
    top_share: float


def choose(heat: I64, touched: Bool, count: int, rng: np.random.Generator) -> Choice:
    """One page of each of `count` strata.

    heat  int64[pages]  misses of each page
    """
    order = np.flatnonzero(touched)
    order = order[np.argsort(-heat[order], kind="stable")]
    falling = heat[order]
    first = np.arange(count + 1) * len(order) // count
    running = np.concatenate([[0], np.cumsum(falling)])
    in_stratum = np.diff(running[first])
    # A stratum with pages that never missed is at the cold end. There every page has the same chance.
    by_heat = falling[first[1:] - 1] > 0
    drawn = rng.random(count)
    hot = np.searchsorted(running, running[first[:-1]] + drawn * in_stratum, side="right") - 1
    even = first[:-1] + (drawn * np.diff(first)).astype(np.int64)
    chosen = np.where(by_heat, np.clip(hot, first[:-1], first[1:] - 1), even)
    mean = in_stratum * (count / len(order))
    weights = np.divide(mean, falling[chosen], out=np.ones(count), where=by_heat)
    by_page = np.argsort(order[chosen])
    place = np.empty(count, np.int64)
    place[by_page] = np.arange(count)
    number = np.full(len(heat), -1, np.int32)
    number[order[chosen]] = place
    stands = np.zeros(len(heat), np.uint32)
    stands[order] = np.repeat(place, np.diff(first))
    return Choice(number, weights[by_page], stands, float(in_stratum.max() / max(1, running[-1])))


def draw_samples(trace: Trace, share: float, seeds: Sequence[int]) -> list[SampledTrace]:
    """A sample of the pages of `trace` for each seed. The trace is read twice, whatever their number.

    Raises `UsageError` where a sample would have fewer than `LEAST_PAGES`.
    """
    heat = np.zeros(trace.pages, np.int64)
    marks = np.zeros(trace.pages)
    for batch in trace.batches():
        add_heat(heat, marks, batch.page, batch.misses)
    touched = marks > 0
    pages = int(touched.sum())
    count = round(pages * share)
    if count < LEAST_PAGES:
        raise UsageError(*_too_few(trace, share, pages, count))
    one_in = pages / count
    parts: list[list[SliceBatch]] = [[] for _ in seeds]
    choices, weighers = [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 14])
        choices.append(choose(heat, touched, count, rng))
        weighers.append(RowWeigher(choices[-1].number, choices[-1].weight, one_in, rng))
    for batch in trace.batches():
        for weigher, part in zip(weighers, parts, strict=True):
            part.append(weigher.weigh(batch))
    return [_sampled(trace, choice, part, pages, count) for choice, part in zip(choices, parts, strict=True)]


def _too_few(trace: Trace, share: float, pages: int, count: int) -> tuple[str, str]:
    percent = format_number(100 * share, 3)
    message = f"{percent} % of the {counted(pages, 'page')} of '{trace.info.name}' are {count}: too few for a sample"
    if pages < 2 * LEAST_PAGES:
        return message, "leave --sample out: such a recording is replayed whole in no time"
    enough = math.ceil(100 * LEAST_PAGES / pages)
    return message, f"give --sample {enough}% or more, or leave it out"


def _sampled(
    trace: Trace, choice: Choice, parts: list[SliceBatch], whole_pages: int, count: int
) -> SampledTrace:
    info = replace(trace.info, cache_bytes=(trace.info.llc_bytes,))
    regions = _regions(trace.regions, choice.number)
    samples: Compressibility | None = compressibility_of(trace)
    if samples is not None:
        samples = renumbered(samples, choice.stands)
    return SampledTrace(
        info,
        count,
        regions,
        parts,
        samples,
        whole_pages,
        whole_pages / count,
        cut_rows_of(trace),
        choice.top_share,
    )


def _regions(regions: Sequence[Region], number: I32) -> tuple[Region, ...]:
    """The regions that have pages in the sample, each from where it began."""
    before = np.concatenate([[0], np.cumsum(number >= 0)])
    found = []
    for region in regions:
        first, end = (int(before[at]) for at in (region.first_page, region.first_page + region.pages))
        if end > first:
            found.append(replace(region, first_page=first, pages=end - first))
    return tuple(found)
