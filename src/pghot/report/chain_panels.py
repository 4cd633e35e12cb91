"""What a picture and a page show of a live run's log: when pages were seen, decided on, and in the top tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pghot.arrays import F64
from pghot.decision_log.row_format import What
from pghot.printable import printable
from pghot.report.chain_times import BINS, times_of
from pghot.report.chains import Chain


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines over the same time.

    lines  float64[BINS] by name
    """

    title: str
    unit: str
    lines: Mapping[str, F64]


def starts_s(chain: Chain) -> F64:
    """float64[BINS]: when each part of the run began."""
    found: F64 = np.arange(BINS, dtype=np.float64) * (chain.lasts_ms / 1000 / BINS)
    return found


def panels(chain: Chain) -> Sequence[Panel]:
    """Those that have something to show; none of pages that nobody saw."""
    seconds = max(1, chain.lasts_ms) / 1000 / BINS
    times = times_of(chain.logged, chain.facts["sources"], chain.lasts_ms)
    dry = not chain.facts.get("apply", True)
    seen = {printable(name): count / seconds for name, count in times.seen.items() if count.any()}
    decided = {_word(what, dry): count / seconds for what, count in times.decided.items()}
    found = []
    if seen:
        found.append(Panel("Accesses that were seen", "per second", seen))
    if decided:
        found.append(Panel("Decisions", "per second", decided))
    if chain.top_share is not None:
        found.append(Panel("In the top tier", "% of those seen by then", {"pages": 100 * chain.top_share}))
    return found


def _word(what: What, dry: bool) -> str:
    if what == What.HELD:
        return "left where it was"
    return f"would be {what}" if dry else what.value
