"""Samples of page contents summed up: what `pghot report summary` and the HTML report say of them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pghot.arrays import U16
from pghot.recording.compressibility import Coding, Compressibility
from pghot.units import PAGE_BYTES

PERCENTILES: Final = (5, 25, 50, 75, 95)
HISTOGRAM_STEP: Final = 256


def describe(samples: Compressibility | None) -> dict[str, Any] | None:
    """JSON-ready figures; None without samples. Shares are of the samples.

    codings  for each: `ratio` of all pages together (4096 / mean bytes), `percentiles` of the ratio of single pages,
             `incompressible_share` (stored as they are), `histogram`: samples by stored bytes, in steps of 256
    """
    if samples is None or not len(samples):
        return None
    return {
        "samples": len(samples),
        "pages": len(np.unique(samples.page)),
        "zero_share": float(samples.zero.mean()),
        "same_filled_share": float(samples.same_filled.mean()),
        "origin": samples.origin,
        "duplicate_share": float(samples.duplicate.mean()),
        "codings": [
            _coding(coding, stored) for coding, stored in zip(samples.codings, samples.stored, strict=True)
        ],
    }


def _coding(coding: Coding, stored: U16) -> dict[str, Any]:
    ratio = PAGE_BYTES / stored
    counts, _ = np.histogram(stored, np.arange(0, PAGE_BYTES + 1, HISTOGRAM_STEP))
    return {
        "algorithm": coding.algorithm,
        "block_bytes": coding.block_bytes,
        "ratio": float(PAGE_BYTES / stored.mean()),
        "percentiles": {
            f"p{p}": float(v) for p, v in zip(PERCENTILES, np.percentile(ratio, PERCENTILES), strict=True)
        },
        "incompressible_share": float((stored == PAGE_BYTES).mean()),
        "histogram": counts.tolist(),
    }


def lines(facts: dict[str, Any] | None) -> list[str]:
    """The figures as text for people; nothing without samples."""
    if facts is None:
        return []
    origin = f" in {facts['origin']}" if facts["origin"] else ""
    said = [
        f"page contents: {facts['samples']:,} samples of {facts['pages']:,} pages{origin}",
        f"zero pages {_share(facts['zero_share'])}, same-filled {_share(facts['same_filled_share'])}, "
        f"duplicates {_share(facts['duplicate_share'])}",
        f"{'compression ratio':20} {'all':>6} "
        + " ".join(f"{f'p{p}':>6}" for p in PERCENTILES)
        + "  incompressible",
    ]
    for coding in facts["codings"]:
        each = " ".join(f"{coding['percentiles'][f'p{p}']:6.2f}" for p in PERCENTILES)
        name = f"{coding['algorithm']} {coding['block_bytes']} B"
        said.append(f"{name:20} {coding['ratio']:6.2f} {each}  {_share(coding['incompressible_share']):>14}")
    return said


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
