"""The calls that mapped a recording's memory, in the terminal: whose memory is hot."""

from __future__ import annotations

from collections.abc import Sequence

from pghot.printable import elided, printable
from pghot.report.facts import Facts
from pghot.units import format_share, format_short_size

SHOWN_SITES = 10
_NAME = 32

# Files whose functions map memory for whoever calls them: C libraries, their loaders, and allocators.
_FOR_OTHERS = (
    "libc.so",
    "libc-",
    "ld-linux",
    "ld-musl",
    "libstdc++",
    "libjemalloc",
    "libtcmalloc",
    "libmimalloc",
)


def sites(facts: Facts) -> list[str]:
    """The sites of most misses, each by the call behind it; nothing where they were not recorded."""
    found = facts["sites"]
    if not found:
        return []
    total = max(1, facts["misses"])
    return [
        "",
        f"{'mapped by':{_NAME}} {'touched':>9} {'misses':>15} {'share':>7} {'writes':>13}",
        *(_line(each, total, facts["page_bytes"]) for each in found[:SHOWN_SITES]),
    ]


def _line(each: Facts, total: int, page_bytes: int) -> str:
    name = elided(printable(behind(each["frames"])), _NAME)
    return (
        f"{name:{_NAME}} {format_short_size(each['pages'] * page_bytes):>9} {each['misses']:>15,} "
        f"{format_share(each['misses'] / total):>7} {each['writes']:>13,}"
    )


def behind(frames: Sequence[str]) -> str:
    """The innermost call that is not of a library which maps memory for others; the innermost where all are.

    >>> behind(["libc.so.6+0x95f28", "malloc+0x19a (libc.so.6)", "fill+0xe (demo)", "main+0x1b (demo)"])
    'fill+0xe (demo)'
    """
    own = (frame for frame in frames if not _file(frame).startswith(_FOR_OTHERS))
    return next(own, frames[0])


def _file(frame: str) -> str:
    """
    >>> _file("malloc+0x19a (libc.so.6)"), _file("libc.so.6+0x95f28"), _file("0x7000")
    ('libc.so.6', 'libc.so.6', '0x7000')
    """
    _, bracket, file = frame.removesuffix(")").rpartition(" (")
    return file if bracket else frame.rpartition("+0x")[0] or frame
