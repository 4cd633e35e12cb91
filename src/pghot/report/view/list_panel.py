"""The lists that fill the remaining room: hot regions, programs, counters."""

from __future__ import annotations

from rich.text import Text

from pghot.counters import COUNTERS
from pghot.printable import elided, printable
from pghot.report.live_text import nothing_seen
from pghot.report.view.parts import DIM, Picture, cut, short_count, title
from pghot.units import format_short_size

PROGRAM = 25  # columns of a program in the list


def hot_lines(picture: Picture, width: int, height: int) -> list[Text]:
    """The hottest regions, as many as fit into `height` lines with title and head."""
    names = {program["pid"]: printable(program["name"]) for program in picture.status["programs"]}
    room = min(20, max(8, width - 68))
    names_of_columns = f"{'heat':>8} {'pid':>7} {'command':{room}} {'addresses':>33} {'size':>8} node"
    lines = [
        title("hot regions", "heat: accesses seen, halved every 2 s", width),
        cut(Text(names_of_columns, DIM), width),
    ]
    top = max((row["heat"] for row in picture.hot), default=1)
    for row in picture.hot[: max(1, height - 2)]:
        ends = f"{row['address']:#x}-{row['address'] + row['bytes']:#x}"
        name, node = elided(names.get(row["pid"], "?"), room), "?" if row["node"] < 0 else row["node"]
        heat = (f"{short_count(row['heat']):>8}", "red" if 2 * row["heat"] > top else "")
        rest = f" {row['pid']:>7} {name:{room}} {ends:>33} {format_short_size(row['bytes']):>8} {node:>4}"
        line = cut(Text.assemble(heat, rest), width)
        if picture.chosen is not None and picture.chosen.shared(row):
            line.stylize("reverse")
        lines.append(line)
    if picture.hot:
        return lines
    why = nothing_seen(picture.status) or ["nothing was seen lately"]
    return [lines[0], *(cut(Text(line), width) for line in why)]


def program_lines(picture: Picture, width: int, height: int) -> list[Text]:
    """The tracked programs, side by side, as many as fit into `height` lines with the title."""
    programs, across = picture.status["programs"], max(1, width // PROGRAM)
    room = max(1, height - 1) * across
    shown = programs if len(programs) <= room else programs[: room - 1]
    texts = [f"{program['pid']:>7} {elided(printable(program['name']), PROGRAM - 9)}" for program in shown]
    if len(shown) < len(programs):
        texts.append(f"and {len(programs) - len(shown):,} more")
    rows = [texts[first : first + across] for first in range(0, len(texts), across)]
    return [
        title("programs", f"{len(programs):,} tracked", width),
        *(cut(Text("".join(f"{text:<{PROGRAM}}" for text in row)), width) for row in rows),
    ]


def counter_lines(picture: Picture, width: int) -> list[Text]:
    """Every counter above 0, as declared: total, rate a second where it only rises, unit."""
    facts = picture.status
    found = [(name, name, value) for name, value in facts["counters"].items()]
    found += [
        (f"{source['name']}/{name}", name, value)
        for source in facts["sources"]
        for name, value in source["counters"].items()
    ]
    lines, room = [title("counters", "those above 0", width)], max(20, width - 41)
    for key, name, value in found:
        if value:
            change = rate_words(picture.history.rate(key)) if COUNTERS[name].kind == "counter" else ""
            line = f"{key:<{room}.{room}} {value:>15,.0f} {COUNTERS[name].unit:<11} {change:>12}"
            lines.append(cut(Text(line), width))
    return lines


def rate_words(rate: float | None) -> str:
    return "" if rate is None else f"{short_count(rate)}/s"
