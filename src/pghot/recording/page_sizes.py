"""How many bytes each page of a trace takes in a compressed tier: as sampled, drawn from the samples, or assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U16, U32
from pghot.recording.coarsen import CoarseTrace
from pghot.recording.compressibility import Compressibility, compressibility_of
from pghot.recording.trace import Region, Trace
from pghot.units import PAGE_BYTES

# A region with fewer samples than this draws from the samples of the whole trace.
ENOUGH_SAMPLES: Final = 8


@dataclass(frozen=True, slots=True)
class Published:
    """A distribution of compressed sizes from the literature.

    incompressible  share of the pages that do not compress at all
    ratios          compression ratio of the others at their quantiles 0, 1/2 and 1; between these the logarithm
                    of the ratio is linear in the quantile
    source          where it is from
    """

    incompressible: float
    ratios: tuple[float, float, float]
    source: str


# Lagar-Cavilla et al., "Software-Defined Far Memory in Warehouse-Scale Computers", ASPLOS 2019 (DOI
# 10.1145/3297858.3304053): of the cold memory of a fleet 31 % does not compress; the rest compresses by 3 in the
# median, by 2 to 6 from job to job. The range is over jobs; the pages of one job spread wider.
# Checked: the saving of 67 % in the abstract is a ratio of 3. Published notes give LZO in zswap, pages of 4 KiB, and
# that pages above 2990 B (73 %) count as incompressible. Not checked, because the paper's text was not available: the
# 31 % and the range of 2 to 6. They matter only for traces without samples of their own.
FAR_MEMORY: Final = Published(
    0.31, (2.0, 3.0, 6.0), "Google's far memory, ASPLOS 2019: 31 % incompressible, the rest 3:1 in the median"
)


@dataclass(frozen=True, slots=True)
class PageSizes:
    """Stored bytes of each page of a trace, and how they are known.

    stored  uint16[pages], 0 < stored <= 4096, for pages of 4 KiB; uint32[pages] for a trace in larger pages: the
            sum over their 4 KiB pages
    zero    bool[pages]    all zero (of a larger page: all of its 4 KiB pages)
    sampled number of 4 KiB pages that have their own value; the others were drawn
    assumed True when the trace has no samples and `FAR_MEMORY` stands in; `note` is then a warning
    """

    stored: npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
    zero: npt.NDArray[np.bool_]
    sampled: int
    assumed: bool
    note: str


def compressed_bytes_per_page(
    trace: Trace, algorithm: str = "lz4", block_bytes: int = PAGE_BYTES, seed: int = 0
) -> PageSizes:
    """Stored bytes of each page of a trace; the same for the same seed.

    A page that was sampled has its latest value. The others draw from the samples of their region, or when that
    has fewer than `ENOUGH_SAMPLES`, from all. Raises `UsageError` for a coding that was not recorded.
    """
    if isinstance(trace, CoarseTrace):
        return _of_folios(compressed_bytes_per_page(trace.trace, algorithm, block_bytes, seed), trace)
    samples = compressibility_of(trace)
    if samples is None or not len(samples):
        note = f"the recording has no samples of page contents: assumed is {FAR_MEMORY.source}"
        return PageSizes(published_bytes(trace.pages, seed), np.zeros(trace.pages, np.bool_), 0, True, note)
    stored = samples.stored_bytes(algorithm, block_bytes)
    choice = drawn_samples(samples, trace.regions, trace.pages, seed)
    own = len(np.unique(samples.page))
    note = f"page sizes under {algorithm} in blocks of {block_bytes} B as sampled from {own} pages"
    note += f" in {samples.origin}" if samples.origin else ""
    return PageSizes(stored[choice], samples.zero[choice], own, False, note)


def drawn_samples(samples: Compressibility, regions: tuple[Region, ...], pages: int, seed: int) -> I64:
    """int64[pages]: the sample that stands for each page. `samples` must not be empty."""
    random = np.random.default_rng(seed)
    choice = random.integers(0, len(samples), pages)
    order = np.argsort(samples.page, kind="stable")
    sampled = samples.page[order]
    for region in regions:
        begin, end = np.searchsorted(sampled, [region.first_page, region.first_page + region.pages])
        if end - begin >= ENOUGH_SAMPLES:
            span = slice(region.first_page, region.first_page + region.pages)
            choice[span] = order[random.integers(begin, end, region.pages)]
    choice[sampled] = order  # by page and then by time: of several, the latest stays
    return choice


def published_bytes(pages: int, seed: int, published: Published = FAR_MEMORY) -> U16:
    """uint16[pages] drawn from a published distribution."""
    random = np.random.default_rng(seed)
    compresses = random.random(pages) >= published.incompressible
    logs = np.interp(random.random(pages), (0.0, 0.5, 1.0), np.log(published.ratios))
    sizes: U16 = np.where(compresses, np.rint(PAGE_BYTES / np.exp(logs)), PAGE_BYTES).astype(np.uint16)
    return sizes


def _of_folios(small: PageSizes, trace: CoarseTrace) -> PageSizes:
    folio: U32 = trace.folio_of
    stored = np.bincount(folio, small.stored, trace.pages).astype(np.uint32)
    zero = np.bincount(folio, ~small.zero, trace.pages) == 0
    return PageSizes(stored, zero, small.sampled, small.assumed, small.note)
