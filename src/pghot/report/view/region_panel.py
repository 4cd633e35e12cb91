"""One region: its heat over time, on which node it was, when it moved, and why pages were left where they are."""

from __future__ import annotations

import textwrap

from rich.text import Text

from pghot.policies.decisions import HeldBack
from pghot.printable import printable
from pghot.report.view.bars import chart
from pghot.report.view.hot_history import Range, columns, moves
from pghot.report.view.parts import CHART, DIM, LABEL, WARN, PanelRoom, Picture, cut, said, short_count, title
from pghot.units import counted, format_short_size

CHART_ROWS = 4
SHOWN_MOVES = 5
# What each reason of a policy means for a page, after "left where they are:".
MEANING = {
    HeldBack.NOTHING_SEEN: "rounds in which nothing was seen below the top tier",
    HeldBack.THRESHOLD: "seen too seldom to be hot",
    HeldBack.GATE: "hot, refused by the gate as too old",
    HeldBack.RATE: "hot, or a whole round, refused by the rate limit",
    HeldBack.FREE_SPACE: "hot, no room in the top tier",
    HeldBack.NEVER_PRESSED: "rounds in which the tiers were not busy enough",
    HeldBack.BUSY: "hot, the thread that moves had no time",
}


def region_lines(picture: Picture, chosen: Range, room: PanelRoom) -> list[Text]:
    """Everything that is known of the chosen region."""
    name = next(
        (each["name"] for each in picture.status["programs"] if each["pid"] == chosen.pid),
        "a program that ended",
    )
    ends = f"{chosen.begin:#x}-{chosen.end:#x}, {format_short_size(chosen.end - chosen.begin)}"
    return [
        title("region", room.span, room.width),
        cut(Text(f"{ends} of {printable(name)} ({chosen.pid})"), room.width),
        *_over_time(picture, chosen, room),
        *why_lines(picture, room.width),
        Text(""),
        *(
            cut(Text(line, DIM), room.width)
            for line in textwrap.wrap(
                "These refusals are of all programs. `run --log FILE` keeps those of each page: pghot report explain - "
                f"{chosen.begin:#x} --log FILE",
                room.width,
                break_on_hyphens=False,
            )
        ),
    ]


def _over_time(picture: Picture, chosen: Range, room: PanelRoom) -> list[Text]:
    life = picture.regions.life(chosen)
    looks = columns(life, max(8, room.width - LABEL - 10), room.span_s)
    heat = [None if look is None else look.heat for look in looks]
    peak = max((value for value in heat if value is not None), default=0.0)
    now = life[-1].heat if life else 0.0
    fronts = [
        f"{'heat':{LABEL}}{short_count(now):>8}  ",
        f"{'  peak':{LABEL}}{short_count(peak):>8}  ",
        *[" " * (LABEL + 10)] * (CHART_ROWS - 2),
    ]
    lines = [
        cut(Text.assemble(front, (drawn, CHART)), room.width)
        for front, drawn in zip(fronts, chart(heat, CHART_ROWS, peak), strict=True)
    ]
    node = life[-1].node if life else None
    here = "not hot" if node is None else "?" if node < 0 else str(node)
    strip = "".join(_node_mark(None if look is None else look.node) for look in looks)
    lines.append(cut(said("on node", f"{here:>8}  {strip}"), room.width))
    found = moves(life)
    if not found:
        return [*lines, cut(said("moved", "not in this time, while it was hot"), room.width)]
    for number, (seconds, before, after) in enumerate(found[:SHOWN_MOVES]):
        ago = f"{picture.status['seconds'] - seconds:.0f} s ago: from node {before} to node {after}"
        lines.append(cut(said("moved" if not number else "", ago), room.width))
    left = len(found) - SHOWN_MOVES
    return lines if left <= 0 else [*lines, said("", f"and {counted(left, 'time')} before")]


def _node_mark(node: int | None) -> str:
    """One character: the node's last digit, a blank where it was not hot or nobody looked."""
    return " " if node is None else "?" if node < 0 else str(node % 10)


def why_lines(picture: Picture, width: int) -> list[Text]:
    """Why pages were left where they are: each reason with its count, and how fast that rises."""
    lines = [title("left where they are", "decisions, of all programs", width)]
    moves_ = picture.status["moves"]
    for why, count in moves_["held_back"].items():
        rate = picture.history.rate(f"held_back/{why}")
        change = "" if rate is None else f"{short_count(rate)}/s"
        lines.append(
            cut(Text(f"{why:14} {short_count(count):>9} {change:>10}  {MEANING[HeldBack(why)]}"), width)
        )
    for error, count in moves_["failed"].items():
        rate = picture.history.rate(f"failed/{error}")
        change = "" if rate is None else f"{short_count(rate)}/s"
        text = f"{error:14} {short_count(count):>9} {change:>10}  pages that move_pages did not move"
        lines.append(cut(Text(text, WARN), width))
    if len(lines) == 1:
        lines.append(cut(Text("the policy has refused nothing yet"), width))
    return lines
