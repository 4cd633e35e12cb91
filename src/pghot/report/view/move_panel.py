"""What was moved: promotions and demotions over time, the use of the rate limit, what failed, the ping-pong guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pghot.report.live_text import damos_lines
from pghot.report.view.bars import gauge
from pghot.report.view.parts import WARN, PanelRoom, Picture, cut, said, title, trend
from pghot.units import PAGE_BYTES, format_number, format_share, format_short_size

if TYPE_CHECKING:
    from pghot.live.status_facts import MoveFacts, PageCount

MIB = 1 << 20


def move_lines(picture: Picture, room: PanelRoom) -> list[Text]:
    """In a dry run: what would have been promoted. That is unknown when DAMON moves the pages."""
    moves = picture.status["moves"]
    applied = picture.status["mode"] == "apply"
    known = applied or picture.status["mover"]["name"] == "move_pages"
    names: dict[PageCount, str] = {}
    if known:
        names["promoted_pages"] = "promoted" if applied else "would move"
    if applied:
        names["demoted_pages"] = "demoted"
    if moves["promoted_by_the_kernel_pages"]:
        names["promoted_by_the_kernel_pages"] = "by kernel"
    note = room.span if applied else f"dry run, {room.span}"
    lines = [title("moves", note, room.width)]
    for key, name in names.items():
        total = format_short_size(moves[key] * PAGE_BYTES)
        lines += trend(picture, room, name, key, page_rate, total)
    lines += [cut(Text(line.strip()), room.width) for line in damos_lines(picture.status)]
    return [*lines, limit_line(picture, room.width), trouble_line(moves, room.width)]


def page_rate(pages_per_s: float) -> str:
    """
    >>> page_rate(512)
    '2.00 MiB/s'
    """
    return f"{format_short_size(pages_per_s * PAGE_BYTES)}/s"


def limit_line(picture: Picture, width: int) -> Text:
    """How much of the rate limit is used, and whether the guard lowered it."""
    moves = picture.status["moves"]
    share = (picture.history.rate("promoted_pages") or 0.0) * PAGE_BYTES / (moves["rate_limit_mb_s"] * MIB)
    held = moves["pingpong_guard_share"]
    guard = (f"holds it to 1/{round(1 / held)}", WARN) if held < 1 else "off"
    back = format_short_size(picture.status["counters"]["pghot_pingpong_pages"] * PAGE_BYTES)
    used = (
        f"{format_share(share, 0):>12} {gauge(share, 8)} of {format_number(moves['rate_limit_mb_s'])} MiB/s"
    )
    return cut(said("limit", used, "; ping-pong guard ", guard, f", {back} back"), width)


def trouble_line(moves: MoveFacts, width: int) -> Text:
    """Pages that did not move, by errno; how near the free floor was."""
    failed = ", ".join(f"{count:,} {name}" for name, count in moves["failed"].items())
    lowest = moves["lowest_free_above_floor_pages"]
    near = "" if lowest is None else f"; lowest free above floor {format_short_size(lowest * PAGE_BYTES)}"
    return cut(said("failed", (f"{failed} (pages)", WARN) if failed else "no page", near), width)
