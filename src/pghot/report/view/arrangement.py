"""Which panels stand where: one column on a small terminal, two on a wide one."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

from pghot.report.live_text import degraded_lines
from pghot.report.view.history import SPAN_S
from pghot.report.view.level_panel import level_lines
from pghot.report.view.list_panel import counter_lines, hot_lines, program_lines
from pghot.report.view.move_panel import move_lines
from pghot.report.view.node_panel import node_lines
from pghot.report.view.parts import GOOD, TITLE, WARN, PanelRoom, Picture, cut
from pghot.report.view.source_panel import own_lines, source_lines
from pghot.units import counted

if TYPE_CHECKING:
    from pghot.live.status_facts import StatusFacts

WIDE = 140  # a terminal this wide gets two columns of panels
GAP = 2
LEAST_HOT = 5
ENOUGH_HOT = 16  # charts grow only while this many lines are left for the hot regions
HIGHEST = 4  # most lines of a chart
ROW_S = 120.0  # time that charts show in one column; in two they show all that is kept


def arranged(picture: Picture, width: int, height: int) -> list[list[Text]]:
    """The columns, left to right. Each aims at `height` lines, and has more where nodes or sources need them."""
    if width < WIDE:
        facts = fact_lines(picture, width, height - ENOUGH_HOT, ROW_S)
        return [facts + hot_lines(picture, width, max(LEAST_HOT, height - len(facts)))]
    left = (width - GAP) // 2
    right = width - GAP - left
    programs = program_lines(picture, left, max(2, height // 3))
    counters = counter_lines(picture, right)
    return [
        fact_lines(picture, left, height - len(programs), SPAN_S) + programs,
        hot_lines(picture, right, max(LEAST_HOT, height - len(counters))) + counters,
    ]


def fact_lines(picture: Picture, width: int, height: int, span_s: float) -> list[Text]:
    """What is wrong, nodes, moves, sources and pghot itself, with charts as high as `height` allows."""
    wrong = [
        Text(line, WARN)
        for problem in degraded_lines(picture.status)
        for line in textwrap.wrap(problem, width, subsequent_indent="  ", break_on_hyphens=False)
    ]
    for chart_rows in range(HIGHEST, 0, -1):
        room = PanelRoom(width, chart_rows, span_s)
        lines = [
            *wrong,
            *node_lines(picture.status, room),
            *level_lines(picture, room),
            *move_lines(picture, room),
            *source_lines(picture, room),
            *own_lines(picture, room),
        ]
        if len(lines) <= height:
            break
    return lines


def head(facts: StatusFacts, width: int) -> Text:
    """What runs, for how long, over how much."""
    applied = facts["mode"] == "apply"
    return cut(
        Text.assemble(
            ("pghot ", TITLE),
            ("apply", GOOD) if applied else ("dry run: nothing is moved", WARN),
            f" · up {clock(facts['seconds'])} · {facts['policy']} · {counted(len(facts['programs']), 'program')}",
        ),
        width,
    )


def clock(seconds: float) -> str:
    """
    >>> clock(3725)
    '1:02:05'
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
