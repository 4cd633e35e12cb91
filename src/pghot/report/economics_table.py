"""Economics of a compressed tier as a Markdown table, which is also what the terminal shows."""

from __future__ import annotations

from pghot.lab.economics import Economics, RuleCost
from pghot.printable import printable
from pghot.rules import rule_named, warnings_of
from pghot.units import counted, format_share, format_size

TITLES = ("recording", "rule", "reserve", "saved", "slowdown", "speed-up", "write faults", "lost", "killed")


def render(found: Economics) -> str:
    """The table, aligned, with its footnotes."""
    rows = [TITLES, *(_cells(line) for line in found.lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES))]
    lines = ["| " + " | ".join(_padded(row, widths)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 1) + (":" if n > 1 else "-") for n, width in enumerate(widths)) + "|"
    sizes = dict.fromkeys(found.contents.values())
    real = format_share(found.margins.real / found.margins.promised)
    notes = [
        f"SIMULATED. {found.tiers}; {format_share(found.fast_share)} of each footprint is in the top "
        "tier, the device "
        f"promises the rest and more, and has real memory for {real} of what it promises.",
        "reserve: what `pghot margin` computes for this device and host; none: no reserve makes the rule safe, and it "
        "ran without.",
        "saved: share of the footprint; slowdown: against all memory fast; speed-up: against first touch and reclaim "
        "under the same rule; killed: the program ran out of memory, or of its budget where the rule gives it one, as "
        "it does not compress enough for what the device promises.",
        f"played: {'; '.join(_played(found))}.",
        *(
            f"{note}: {', '.join(name for name, why in found.contents.items() if why == note)}."
            for note in sizes
        ),
        *(f"warning: {text}" for text in warnings_of(rule_named(line.rule) for line in found.lines)),
        *(f"warning: {name}: {text}" for name, texts in found.warnings.items() for text in texts),
    ]
    return "\n".join(map(printable, [lines[0], rule, *lines[1:], "", *notes]))


def _played(found: Economics) -> list[str]:
    """How often each recording was played, and for which footprint; the rules differ little in that."""
    first = {line.recording: line for line in reversed(found.lines)}
    return [
        f"{name.removeprefix('bundled:')} {counted(line.passes, 'time')}, for "
        f"{format_size(line.footprint_bytes)}"
        for name, line in ((name, first[name]) for name in found.contents)
    ]


def _cells(line: RuleCost) -> tuple[str, ...]:
    return (
        line.recording.removeprefix("bundled:"),
        line.rule,
        "none" if line.reserve_bytes is None else format_size(line.reserve_bytes),
        "-" if line.saved_share is None else format_share(line.saved_share),
        "-" if line.slowdown is None else f"{line.slowdown:.2f}",
        "-" if line.speedup is None else f"{line.speedup:.2f}",
        f"{line.write_faults:,}",
        f"{line.lost_pages:,}",
        str(line.killed_tenants),
    )


def _padded(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Words to the left, figures to the right."""
    return [
        cell.ljust(width) if column < 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
