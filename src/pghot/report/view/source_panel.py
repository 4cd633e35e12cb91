"""The sources, with their losses and sampling, and what pghot itself costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from pghot.counters import COUNTERS, LOSSES
from pghot.report.live_text import skipped
from pghot.report.view.bars import gauge
from pghot.report.view.parts import WARN, PanelRoom, Picture, cut, said, short_count, title, trend
from pghot.units import format_number, format_share, format_short_size

if TYPE_CHECKING:
    from pghot.live.status_facts import BudgetFacts

HARDLY_LESS = 0.9  # of the full sampling rate: the budget is kept by swinging a little below it


def source_lines(picture: Picture, room: PanelRoom) -> list[Text]:
    """Each source: sightings a second, what it lost, how it samples; and why sightings were not tracked."""
    lines = [title("sources", f"sightings, {room.span}", room.width)]
    for source in picture.status["sources"]:
        counts = source["counters"]
        key, total = f"{source['name']}/pghot_sightings", short_count(counts["pghot_sightings"])
        lines += trend(picture, room, source["name"], key, lambda rate: f"{short_count(rate)}/s", total)
        lost = losses(counts)
        loss = (f"lost {lost}", WARN) if lost else "nothing lost"
        lines.append(cut(said("", loss, f"; {source['sampling']}"), room.width))
    return lines + [cut(Text(line), room.width) for line in skipped(picture.status["counters"])]


def losses(counts: Mapping[str, int]) -> str:
    """What a source lost, with its declared unit; empty when nothing.

    >>> losses({"hwhint_dropped_events": 3, "pghot_sightings": 9})
    '3 events (hwhint_dropped_events)'
    """
    return ", ".join(
        f"{counts[name]:,} {COUNTERS[name].unit} ({name})" for name in LOSSES if counts.get(name)
    )


def own_lines(picture: Picture, room: PanelRoom) -> list[Text]:
    """pghot's CPU against its budget, and its memory."""
    facts, tracking = picture.status, picture.status["tracking"]
    each = tracking["bytes_per_tracked_page"]
    resident = format_short_size(facts["counters"]["pghot_resident_bytes"])
    words = said(
        "",
        *budget_words(facts["budget"], picture.history.rate("pghot_cpu_seconds")),
        f"; {resident} resident",
        f", {each:.0f} B a page" if each else "",
    )
    total = f"{facts['counters']['pghot_cpu_seconds']:,.0f} s"
    return [
        title("pghot itself", f"share of a CPU, {room.span}", room.width),
        *trend(picture, room, "CPU", "pghot_cpu_seconds", lambda rate: format_share(rate), total),
        cut(words, room.width),
    ]


def budget_words(budget: BudgetFacts, cpu_share: float | None) -> list[tuple[str, str] | str]:
    """The budget, whether it is kept, and at what share of their rate the sources sample for it."""
    limit, effort = budget["max_cpu_percent"], budget["effort"]
    if limit is None:
        return ["no CPU budget"]
    used = 0.0 if cpu_share is None else 100 * cpu_share / limit
    over = (
        (f"over the budget of {format_number(limit)} %", WARN)
        if used > 1
        else f"budget {format_number(limit)} %"
    )
    sampling = f"; sampling {format_share(effort, 0)}"
    return [over, f" {gauge(used, 8)}", (sampling, WARN) if effort < HARDLY_LESS else sampling]
