"""The curve of a recording as text: a row for each size of the fast tier, and how much is enough."""

from __future__ import annotations

import textwrap

from pghot.lab.curve import WAYS, Curve
from pghot.printable import printable
from pghot.units import counted, format_share, format_size

ENOUGH = (1.05, 1.1, 1.25)  # slowdowns for which the text says how much fast memory they take


def render(found: Curve) -> str:
    """The text that `pghot curve` prints."""
    similar = found.similarity
    itself = "itself" if similar.group_pages == 1 else f"a program of {format_size(similar.footprint_bytes)}"
    head = [
        f"{found.trace}: {found.tiers}",
        f"stands for {itself} with {counted(similar.threads, 'thread')}; with no fast memory at all it takes "
        f"{found.slow_slowdown:.2f} times as long as with fast memory alone (PREDICTED)",
        *(f"warning: {text}" for text in found.warnings),
    ]
    titles = ["fast memory", "", *(f"{way}" for way in WAYS)]
    rows = [
        [
            format_share(group[0].fast_share),
            format_size(group[0].fast_bytes),
            *(f"{point.slowdown:.2f} x {format_share(point.slow_miss_share):>7}" for point in group),
        ]
        for group in zip(*(found.of(way) for way in WAYS), strict=True)
    ]
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]
    table = [
        "  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True))
        for row in [titles, *rows]
    ]
    notes = [
        "each pair: predicted time over that with all memory fast, and the share of cache misses that slow memory "
        "serves. first touch: nothing moves; hottest: the pages that miss most are fast from the start; recency: a "
        "page comes at each use, at once and for nothing, and all its misses of a slice are one use",
        *(_enough(found, slowdown) for slowdown in ENOUGH),
    ]
    return "\n".join([*_wrapped(head), "", *table, "", *_wrapped(notes)])


def _enough(found: Curve, slowdown: float) -> str:
    sizes = []
    for way in WAYS:
        size = found.enough(way, slowdown)
        most = found.of(way)[-1]
        share = None if size is None else size / found.similarity.footprint_bytes
        sizes.append(
            f"{way} more than {format_size(most.fast_bytes)} (with that it is {most.slowdown:.2f} x)"
            if size is None or share is None
            else f"{way} {format_size(size)} ({format_share(round(share, 3))})"
        )
    return f"for at most {slowdown:.2f} x: {'; '.join(sizes)}"


def _wrapped(lines: list[str]) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(printable(line), 100, subsequent_indent="  ", break_on_hyphens=False)
    ]
