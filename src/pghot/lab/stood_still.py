"""Movers that stood still: which, why, and what would make them move."""

from __future__ import annotations

from collections.abc import Sequence

from pghot.lab.outcomes import SummaryRow
from pghot.policies.decisions import HeldBack
from pghot.sim.policies import POLICIES

IDLE = 0.001  # a mover that promotes less than this share of the footprint stood still

_WHY = {
    HeldBack.NOTHING_SEEN: "its source reported no page of a lower tier",
    HeldBack.THRESHOLD: "what it saw of the pages stayed below its threshold",
    HeldBack.GATE: "the hot pages were too old when they were judged",
    HeldBack.RATE: "the rate limit refused the hot pages",
    HeldBack.FREE_SPACE: "the top tier had no room",
    HeldBack.NEVER_PRESSED: "the tiers were never as busy as it waits for",
    HeldBack.BUSY: "the thread that moves pages had no time",
}
_WOULD_TELL = {
    HeldBack.NOTHING_SEEN: "another source or a longer run (--duration)",
    HeldBack.THRESHOLD: "a lower threshold, another source or a longer run (--duration)",
    HeldBack.GATE: "another source",
    HeldBack.RATE: "a higher rate limit",
    HeldBack.FREE_SPACE: "a larger top tier (--fast-share)",
    HeldBack.NEVER_PRESSED: "more threads (--threads)",
    HeldBack.BUSY: "another source",
}


def stood_still(row: SummaryRow, footprint_pages: int) -> bool:
    return row.figures.promotions < IDLE * footprint_pages


def why_still(row: SummaryRow, footprint_pages: int) -> str | None:
    """Name of the reason why a mover stood still ("not told" if it gives none); None: it moved, or is no mover."""
    if row.kind != "mover" or not stood_still(row, footprint_pages):
        return None
    reason = _main_reason(row)
    return "not told" if reason is None else reason.value


def why(row: SummaryRow) -> str:
    """The reason of most decisions, in words."""
    reason = _main_reason(row)
    if reason is None:
        return "it gives no reason"
    if reason == HeldBack.THRESHOLD and _waits_for_more(row):
        published = ", as in the published benchmarks," if f"{row.policy}-f1" in POLICIES.names() else ""
        return f"{_WHY[reason]}; --set NAME.freq_threshold=1{published} lets one sighting do"
    return _WHY[reason]


def would_tell(rows: Sequence[SummaryRow]) -> str:
    """What would make one of these movers move: the one with the most decisions."""
    asked = max(rows, key=lambda row: max(row.held_back.values(), default=0))
    reason = _main_reason(asked)
    return "a longer run (--duration) or another source" if reason is None else _WOULD_TELL[reason]


def grouped(rows: Sequence[SummaryRow]) -> str:
    """The movers by reason: "A, B (why); C (why)"."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(why(row), []).append(row.label)
    return "; ".join(f"{', '.join(labels)} ({reason})" for reason, labels in groups.items())


def _waits_for_more(row: SummaryRow) -> bool:
    """Whether one sighting of a page is not enough for the policy, and could be."""
    given = dict(text.split("=", 1) for text in row.options)
    default = POLICIES.options(row.policy).get("freq_threshold")
    return str(given.get("freq_threshold", default)) not in ("1", "None")


def _main_reason(row: SummaryRow) -> HeldBack | None:
    """The reason of most decisions; the first of several."""
    if not row.held_back:
        return None
    return HeldBack(max(row.held_back, key=lambda reason: row.held_back[reason]))
