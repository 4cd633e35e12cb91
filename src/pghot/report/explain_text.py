"""The life of a page or a region in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from pghot.printable import printable
from pghot.recording.life import COLUMNS, Life
from pghot.recording.symbols import Symbols
from pghot.recording.target import Target, extent
from pghot.report.chains import Chain
from pghot.report.heat_levels import short
from pghot.report.terminal import axis, bars, fitted
from pghot.units import counted, format_duration, format_share

SHOWN_SPANS, SHOWN_NAMES, SHOWN_ALLOCATIONS = 8, 4, 4
INDENT = 19  # of the words after a time
_NAME, _RATE = 10, 9


def bins_for(width: int) -> int:
    """How many columns of time fit beside the names."""
    return max(10, width - _NAME - _RATE - 2)


def render(found: Life, chains: Sequence[Chain], width: int) -> list[str]:
    """What `pghot report explain` prints; chains: of each run of a log, if there is one."""
    lines = figures(found)
    if found.touched_pages:
        lines += ["", f"{'':{_NAME}} {'most /s':>{_RATE}}  a column is {format_duration(found.time.bin_ns)}"]
        lines += _rates(found)
    return [*lines, *chain_lines(chains, width)]


def render_live(
    target: Target, page_bytes: int, chains: Sequence[Chain], left_out: Sequence[str], width: int
) -> list[str]:
    """The same of pages of a live run, of which only a log tells. left_out: what the log has not, in words."""
    title = f"{printable(target.title)}: {extent(target, page_bytes)}"
    return [title, *chain_lines(chains, width), *left_out]


def chain_lines(chains: Sequence[Chain], width: int) -> list[str]:
    """Each run with its words."""
    lines: list[str] = []
    for each in chains:
        heard = f", hears {', '.join(map(printable, each.facts['sources']))}" if each.facts["sources"] else ""
        lines += ["", f"{printable(each.facts['label'])}{heard}"]
        lines += [line for text in each.lines for line in _wrapped(text, width)]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines of this width; the later ones begin where the words after the time do."""
    indent = " " * (INDENT if text.startswith(" ") else 2)
    lead = len(text) - len(text.lstrip())
    return wrap(
        text.lstrip(), width, initial_indent=" " * lead, subsequent_indent=indent, break_long_words=False
    )


def figures(found: Life) -> list[str]:
    """What they are, and what they did in all."""
    lines = [f"{printable(found.target.title)}: {extent(found.target, found.page_bytes)}"]
    if found.target.symbols is not None:
        lines.append(called(found.target.symbols))
    lines += places(found) if found.target.pages > 1 else []
    lines += mapped_by(found)
    if not found.touched_pages:
        return [*lines, "never touched while it was recorded"]
    touched = "" if found.target.pages == 1 else f"{counted(found.touched_pages, 'page')} of them touched, "
    totals = [
        counted(found.total(column), each)
        for column, each in zip(COLUMNS, ("touch", "miss", "write"), strict=True)
    ]
    lines.append(
        f"{touched}in {found.slices:,} of {counted(found.all_slices, 'slice')}, first at {found.first_s:.3f} s, "
        f"last at {found.last_s:.3f} s"
    )
    lines.append(", ".join(totals))
    if found.miss_share is not None:
        lines.append(f"{format_share(found.miss_share, 2)} of all misses")
    if found.colder_share is not None:
        whose = "of the touched pages are colder" + ("" if found.target.pages == 1 else " than its mean page")
        lines.append(f"{format_share(found.colder_share)} {whose}")
    return lines


def called(symbols: Symbols) -> str:
    """What is in a page of a file."""
    names, left = symbols.names[:SHOWN_NAMES], len(symbols.names) - SHOWN_NAMES
    more = f" and {left} more" if left > 0 else ""
    has = f": {', '.join(map(printable, names))}{more}, by the file that is there now" if names else ""
    return f"{symbols.offset:#x} into its mapping{has}"


def places(found: Life) -> list[str]:
    """Where its parts are, the first of them."""
    lines = []
    for span in found.target.spans[:SHOWN_SPANS]:
        if span.start_address is not None:
            end = span.start_address + span.pages * found.page_bytes
            lines.append(f"  {span.start_address:#x}-{end:#x}, address space {span.space}")
    left = len(found.target.spans) - SHOWN_SPANS
    return [*lines, f"  and {left} more"] if left > 0 else lines


def mapped_by(found: Life) -> list[str]:
    """The calls that mapped them, the innermost first; of several, the first of them."""
    lines = []
    for each in found.allocations[:SHOWN_ALLOCATIONS]:
        what = "" if found.target.pages == 1 else f"{counted(each.pages, 'page')} "
        when = "" if each.time_s is None else f"from {each.time_s:.3f} s on "
        lines.append(f"{what}{when}mapped by" if each.frames else f"{what}{when}mapped, not known by what")
        lines += [f"  {printable(frame)}" for frame in each.frames]
    left = len(found.allocations) - SHOWN_ALLOCATIONS
    return [*lines, f"and by {counted(left, 'other call')}"] if left > 0 else lines


def _rates(found: Life) -> Sequence[str]:
    seconds = found.time.bin_ns / 1e9
    lines = []
    for column, counts in zip(COLUMNS, found.counts, strict=True):
        rate = short(float(counts.max()) / seconds)
        lines.append(f"{column:{_NAME}} {rate:>{_RATE}} {bars(counts)[0].rstrip()}".rstrip())
    width = len(fitted(found.recorded, found.time.bins))
    ends = ["0 s", format_duration(found.time.bins * found.time.bin_ns)]
    lines.append(" " * (_NAME + _RATE + 2) + axis(ends, width))
    if not found.recorded.all():
        missing = int((~found.recorded).sum())
        lines.append(f"in {missing} of {found.time.bins} columns nobody looked; they are empty here")
    return lines
