"""The calls that mapped a recording's memory, in the terminal: whose memory is hot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    """The calls behind the sites, those of most misses first; nothing where sites were not recorded."""
    found = by_call(facts["sites"])
    if not found:
        return []
    total = max(1, facts["misses"])
    return [
        "",
        f"{'mapped by':{_NAME}} {'touched':>9} {'misses':>15} {'share':>7} {'writes':>13}",
        *(_line(each, total, facts["page_bytes"]) for each in found[:SHOWN_SITES]),
    ]


def by_call(sites: Sequence[Facts]) -> list[dict[str, Any]]:
    """The calls behind the sites, those of most misses first: sites that differ only in who called are one. `frames`
    are those of its hottest site."""
    added: dict[str, dict[str, Any]] = {}
    for each in sites:
        call = behind(each["frames"])
        so_far = added.setdefault(
            call, {"call": call, "frames": each["frames"], "pages": 0, "misses": 0, "writes": 0}
        )
        for name in ("pages", "misses", "writes"):
            so_far[name] += each[name]
    return sorted(added.values(), key=lambda each: -each["misses"])


def _line(each: Facts, total: int, page_bytes: int) -> str:
    call = printable(each["call"])
    name = elided(call if len(call) <= _NAME else call.partition(" (")[0], _NAME)
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
