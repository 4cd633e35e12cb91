"""What a policy did about many pages, and why, in words: sums by what was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pghot.arrays import F64
from pghot.decision_log.reading import RunRows
from pghot.decision_log.row_format import What
from pghot.printable import printable
from pghot.report.chain_text import held, when
from pghot.report.terminal import bars
from pghot.units import counted, format_share

Row = Mapping[str, Any]


def sums(
    run: RunRows,
    rows: Sequence[Row],
    nodes: Sequence[str],
    seen: Sequence[tuple[str, int, int]],
    share: F64 | None,
) -> list[str]:
    """The lines of one run.

    rows   see `chains.summed`
    seen   of each source its name, what it saw, and of how many of the pages
    share  see `Chain.top_share`
    """
    live = run.facts.get("live", False)
    if not rows:
        return ["nothing was seen of them" if live else "the program did not touch them in the replay"]
    first = "first seen on {}" if live else "placed on {} at the first touch"
    lines = [
        f"{counted(row['pages'], 'page')} {first.format(printable(nodes[row['target']]))}"
        for row in rows
        if row["what"] == What.PLACED
    ]
    lines += [
        f"{printable(source)} saw {counted(count, 'access')} of {counted(pages, 'page')}"
        for source, count, pages in seen
    ]
    decisions = [row for row in rows if row["what"] not in (What.PLACED, What.UNDECIDED)]
    lines += [f"{when(row):>19}  {_decision(row, nodes, run.facts.get('apply', True))}" for row in decisions]
    if not decisions:
        lines.append("nothing was decided about them")
    if share is None:  # a dry run: nothing moved
        return lines
    early, last = float(share[0]), float(share[-1])
    lines.append(f"in the top tier: {format_share(early)} of them early on, {format_share(last)} at the end")
    return [*lines, f"  |{bars(share, most=1.0)[0]}|"] if share.any() else lines


def _decision(row: Row, nodes: Sequence[str], apply: bool) -> str:
    """apply: False in a dry run, which really moved nothing."""
    many = f"{counted(row['pages'], 'page')}, {counted(row['times'], 'time')}"
    if row["what"] == What.HELD:
        return f"{many}: {held(row['why'])}"
    if row["what"] == What.FREED:
        return f"{many}: their program was killed"
    source, target = (printable(nodes[row[end]]) for end in ("source", "target"))
    why = f" as {row['why']}" if row["why"] else ""
    did = row["what"] if apply else f"would be {row['what']}"
    return f"{many}: {did}{why} from {source} to {target} by {printable(row['by'])}"
